package transcode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/media/nal"
)

// ErrSource says that a job's segment is not on the bus any more, or can't be used.
var ErrSource = errors.New("transcode: the segment can't be read")

const (
	// partWait is how long a part that lies on the bus may take to come from there, and
	// leadOutWait how long the part behind the segment may take to be made.
	partWait    = 2 * time.Second
	leadOutWait = time.Second
	// maxLead is how long before a segment its decoder may begin.
	maxLead = 100 * time.Second
)

// source is a job's input.
type source struct {
	video, audio *mp4.Stream // nil when not needed
	// shown are the segment's pictures in the order of display, with their exact times; before
	// is when the last one before them is shown, 0 when nothing joins.
	shown  []media.Time
	before media.Time
	// pixels is the size of a picture, pose how it is shown.
	pixels int
	pose   media.Pose
	// captions are those of the pictures that have some, by when they are shown.
	captions map[media.Time][]byte
	// trim is when the first of them is shown, when the video stream has some before it; else 0.
	trim media.Time
}

// read gathers the job's parts: those before the segment that its decoders need, its own, and
// one behind it for sound that reaches over its end.
func read(ctx context.Context, m bus.Media, j *live.Job) (*source, error) {
	f, err := m.Follow(ctx, j.Subject(), j.LeadIn)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var before, parts []*live.Part
	for {
		seq, p, err := next(ctx, f, partWait)
		var aged *bus.AgedOutError
		if errors.As(err, &aged) && len(parts) == 0 && aged.First <= j.First {
			before = nil // what lies before the segment has gone
			continue
		}
		if err != nil {
			return nil, err
		}
		if seq < j.First {
			before = append(before, p)
			continue
		}
		if len(parts) == 0 && seq != j.First || p.Segment.Number != j.Number {
			return nil, fmt.Errorf("%w: message %d on the bus is not its next part", ErrSource, seq)
		}
		if parts = append(parts, p); seq == j.Last {
			break
		}
	}
	var behind *live.Part
	if j.Listens() && j.Continues {
		if _, p, err := next(ctx, f, leadOutWait); err == nil && !p.Segment.Discontinuity {
			behind = p
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return newSource(j, before, parts, behind)
}

func next(ctx context.Context, f bus.Follower, wait time.Duration) (uint64, *live.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	msg, err := f.Next(ctx)
	var aged *bus.AgedOutError
	if errors.As(err, &aged) {
		return 0, nil, fmt.Errorf("%w: its parts have left the bus: %w", ErrSource, err)
	}
	if err != nil {
		return 0, nil, err
	}
	p, ok := any(msg.Body).(*live.Part)
	if !ok {
		return 0, nil, fmt.Errorf("%w: message %d on the bus is no part; do all nodes run the same release?", ErrSource, msg.Seq)
	}
	return msg.Seq, p, nil
}

func newSource(j *live.Job, before, parts []*live.Part, behind *live.Part) (*source, error) {
	a, err := live.NewAssembly(parts[0], j.First)
	for i := 1; err == nil && i < len(parts); i++ {
		err = a.Add(parts[i], j.First+uint64(i))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	a.From = j.From
	s := &source{}
	if len(j.Video) > 0 {
		if err := s.readVideo(j, a, before); err != nil {
			return nil, err
		}
	}
	if j.Listens() {
		t, ok := a.Track(media.Audio)
		if !ok {
			return nil, fmt.Errorf("%w: it has no sound", ErrSource)
		}
		all := slices.Clone(parts)
		if j.Follows {
			all = append(slices.Clone(before), all...)
		}
		if behind != nil {
			all = append(all, behind)
		}
		if s.audio = stream(t, all); len(s.audio.Frames) == 0 {
			return nil, fmt.Errorf("%w: its sound has no frames", ErrSource)
		}
	}
	return s, nil
}

// readVideo takes the pictures, and those before them when the segment can't be decoded
// without.
func (s *source) readVideo(j *live.Job, a *live.Assembly, before []*live.Part) error {
	t, ok := a.Track(media.Video)
	if !ok {
		return fmt.Errorf("%w: it has no pictures", ErrSource)
	}
	frames := a.Frames(t.ID)
	if len(frames) == 0 {
		return fmt.Errorf("%w: it has no pictures", ErrSource)
	}
	v := t.Params.(media.VideoParams)
	w, h := v.Size()
	s.pixels, s.pose = w*h, v.Posed()
	s.captions = map[media.Time][]byte{}
	for _, f := range frames {
		s.shown = append(s.shown, f.PTS)
		if cc := nal.CaptionData(t.Params, f.Payload); cc != nil {
			s.captions[f.PTS] = cc
		}
	}
	slices.Sort(s.shown)
	lead := stream(t, before).Frames
	if j.Follows {
		for _, f := range lead {
			if f.PTS < s.shown[0] {
				s.before = max(s.before, f.PTS)
			}
		}
	}
	if !frames[0].Key {
		at := len(lead) - 1
		for at >= 0 && !lead[at].Key {
			at--
		}
		if at < 0 || frames[0].DTS.Sub(lead[at].DTS) > maxLead {
			return fmt.Errorf("%w: it begins without a keyframe, and so does what the bus has before it; set the encoder's keyframe interval to 2 s", ErrSource)
		}
		frames, s.trim = append(slices.Clone(lead[at:]), frames...), s.shown[0]
	}
	s.video = &mp4.Stream{Track: t, Frames: frames}
	return nil
}

// stream returns the frames of a track that the parts hold, as far as its parameters stay.
func stream(t media.Track, parts []*live.Part) *mp4.Stream {
	s := &mp4.Stream{Track: t}
	for _, p := range parts {
		if same, ok := p.Segment.Track(t.ID); !ok || !same.Params.Equal(t.Params) {
			continue
		}
		for i := range p.Frames {
			f := &p.Frames[i]
			if f.Track != t.ID || len(s.Frames) > 0 && f.DTS <= s.Frames[len(s.Frames)-1].DTS {
				continue
			}
			s.Frames = append(s.Frames, f)
		}
	}
	return s
}

// file is the input as ffmpeg reads it. Sound comes first: pictures that wait for it would
// fill ffmpeg's queues.
func (s *source) file(j *live.Job) ([][]byte, error) {
	var streams []mp4.Stream
	if s.audio != nil {
		streams = append(streams, *s.audio)
	}
	if s.video != nil {
		streams = append(streams, *s.video)
	}
	return mp4.File(streams, base(j))
}
