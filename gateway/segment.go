package gateway

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// Bounds of one part. A stream that exceeds them is no stream that anybody could play.
const (
	maxPartBytes  = 7 << 20
	maxPartFrames = 8192
)

// openSegment collects the frames of one segment into parts. A part is handed on when a
// frame of a later part of the same segment comes, or when the segment is closed: only then
// is it known whether it is the last.
type openSegment struct {
	seg  live.Segment
	part time.Duration
	emit func(live.Part)

	gen    uint32
	video  bool
	number int // of the part that is open
	frames []media.Frame
	bytes  int
	size   int // frames of the part before, to allocate once

	lastVideo          int // index in frames of the newest video frame, or -1
	videoEnd, audioEnd media.Time
	lastAudio          media.Time // PTS of the newest frame of sound
	// sound is the least PTS of its sound, the segment's start unless it is a broadcast's
	// first; lead is by how much that makes the sound longer than the segment.
	sound media.Time
	lead  time.Duration
	// leading is set while frames may come that are decoded after the keyframe and shown
	// before it.
	leading bool
}

// add appends a frame. Frames come in the order of their DTS.
func (o *openSegment) add(f media.Frame, kind media.Kind) {
	number := max(0, int(f.DTS.Sub(o.seg.Start)/o.part))
	if number > o.number && len(o.frames) > 0 {
		o.flush(live.Part{})
	}
	o.number = max(o.number, number)
	if o.frames == nil {
		o.frames = make([]media.Frame, 0, o.size+o.size/8+4)
	}
	if kind == media.Video {
		o.lastVideo = len(o.frames)
		o.videoEnd = max(o.videoEnd, f.End())
	} else {
		o.audioEnd, o.lastAudio = max(o.audioEnd, f.End()), max(o.lastAudio, f.PTS)
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.Payload)
}

// length is how long the segment and all of its sound can last when the segment ends at end.
func (o *openSegment) length(end media.Time) time.Duration { return end.Sub(o.seg.Start) + o.lead }

// overfull reports whether the open part is beyond all bounds.
func (o *openSegment) overfull() bool {
	return o.bytes > maxPartBytes || len(o.frames) > maxPartFrames
}

// stretch gives the newest video frame, if it is still here, the time of a frame after it
// that was left out.
func (o *openSegment) stretch(d time.Duration) {
	if o.lastVideo >= 0 {
		f := &o.frames[o.lastVideo]
		f.Duration += d
		o.videoEnd = max(o.videoEnd, f.End())
	}
}

// trim ends the sound at latest: a frame before a hole lasts as long as the hole.
func (o *openSegment) trim(latest media.Time) {
	for i := range o.frames {
		f := &o.frames[i]
		params, _ := o.trackParams(f.Track)
		if params.Kind() == media.Audio && f.PTS < latest && f.End() > latest {
			f.Duration = latest.Sub(f.PTS)
		}
	}
}

// close hands on the last part.
func (o *openSegment) close(end media.Time, final bool) {
	o.flush(live.Part{Last: true, End: end, Final: final})
}

func (o *openSegment) flush(p live.Part) {
	p.Segment, p.Number, p.Frames = o.seg, o.number, o.frames
	o.size, o.bytes, o.frames, o.lastVideo = len(o.frames), 0, nil, -1
	o.emit(p)
}

// mediaEnd is where the segment ends when nothing continues it.
func (o *openSegment) mediaEnd() media.Time {
	end := o.audioEnd
	if o.video && o.lastAudio < o.videoEnd {
		end = o.videoEnd
	}
	return max(end, o.seg.Start+1)
}

// trackParams returns the parameters in force for a track.
func (o *openSegment) trackParams(id media.TrackID) (media.Params, bool) {
	t, ok := o.seg.Track(id)
	return t.Params, ok
}
