package gateway

import (
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// dropCause says why a frame did not go into a part.
type dropCause int

const (
	dropNoKeyframe dropCause = iota // pictures before the first keyframe
	dropEarlySound                  // sound before the first picture that can't join it
	dropLate                        // after its turn in the interleave; pictures that depend on such a one
	dropOverlap                     // audio before the end of the audio that is there
	dropLeading                     // leading picture of a keyframe at a cut
	dropOutside                     // audio that no segment covers: at a start, a gap, a change
	dropJoins                       // pictures of another bitrate before a segment begins
	dropData                        // timed data that came before the media, or too much of it
	dropCauses
)

func (c dropCause) String() string {
	return [...]string{"no-keyframe", "early-sound", "late", "overlap", "leading", "outside", "joins", "data"}[c]
}

// maxUndecided bounds the bytes of the parts that wait for the target duration.
const maxUndecided = 48 << 20

// segmenter cuts the interleaved frames of one feed into segments and parts (design rule
// "one grid"). It is a pure function of the frames.
type segmenter struct {
	grid     time.Duration // D: segments are cut at its multiples
	part     time.Duration
	target   time.Duration // 0 until it is known
	early    bool          // the next keyframe cut is the broadcast's first
	onGrid   bool          // the feed begins where the segments of others do
	from     media.Time    // where that can be; 0 before the first keyframe
	lanes    *interleaver
	emit     func(live.Part)
	dropped  [dropCauses]uint64
	forced   uint64 // segments that were ended without a keyframe
	onTarget func(time.Duration)

	number    uint64
	seq       uint64
	prev, cur *openSegment // prev is complete but for its last audio
	prevEnd   media.Time
	lastKey   media.Time
	broken    bool // the next segment does not continue the one before it
	retrack   bool // an audio track has new parameters
	data      []media.Data
	dataBytes int
	several   bool       // there have been several tracks of sound
	before    earlySound // of a broadcast that has no segment yet
	waiting   []live.Part
	waitBytes int
	longest   time.Duration // of the segments cut before the target was known
}

// take adds the next frame.
func (s *segmenter) take(it item) {
	if s.prev != nil && (it.gen > s.prev.gen || it.frame.DTS >= s.prevEnd) {
		s.closePrev()
	}
	s.broken = s.broken || it.gap || s.cur != nil && it.gen != s.cur.gen
	if s.lanes.kindOf(it.frame.Track) == media.Video {
		s.video(it)
	} else {
		s.audio(it)
	}
}

// video adds a picture to the segment or begins a new one with it.
func (s *segmenter) video(it item) {
	f := &it.frame
	if s.cur == nil || !s.cur.video {
		if s.cur == nil && !s.enters(f) {
			s.dropped[dropJoins]++
			return
		}
		if !f.Key {
			s.dropped[dropNoKeyframe]++
			return
		}
		s.open(it, s.cur != nil)
		return
	}
	params, _ := s.cur.trackParams(f.Track)
	switch {
	case s.broken, s.retrack, params != it.track.Params:
		s.open(it, true)
		return
	case s.due(f):
		if !f.Key {
			s.forced++
		}
		s.open(it, false)
		return
	}
	if f.Key {
		s.key(f.PTS)
	}
	if s.cur.leading && (f.Key || f.PTS > s.cur.seg.Start) {
		s.cur.leading = false
	}
	if s.cur.leading {
		s.dropped[dropLeading]++
		s.cur.stretch(f.Duration)
		return
	}
	s.cur.add(it.frame, media.Video)
}

// enters reports whether the feed may begin with a picture. One that joins others does not before
// the next multiple of the grid: with the first keyframe behind it they begin a segment too.
func (s *segmenter) enters(f *media.Frame) bool {
	if s.onGrid && f.Key && s.from == 0 {
		s.from = boundary(f.PTS, s.grid)
	}
	return f.PTS >= s.from
}

// due reports whether the segment has to end before the frame.
func (s *segmenter) due(f *media.Frame) bool {
	start, target := s.cur.seg.Start, s.limit()
	length := f.PTS.Sub(start)
	most := target + rounding - s.cur.lead
	if length < time.Microsecond {
		return false
	}
	if f.Key {
		gop := f.PTS.Sub(s.lastKey)
		return f.PTS >= boundary(start, s.grid) ||
			s.early && length >= minFirst ||
			// Waiting for the next keyframe would force a cut without one.
			length+gop > most
	}
	return length >= target+max(forcedAfter-s.cur.lead, leastForced) || length+f.Duration > most
}

func (s *segmenter) limit() time.Duration {
	if s.target == 0 {
		return MaxTarget
	}
	return s.target
}

// audio adds a frame of sound to the segment that covers its PTS; without video it also
// makes the cuts.
func (s *segmenter) audio(it item) {
	f := &it.frame
	if s.prev != nil && f.PTS < s.prevEnd {
		s.addAudio(s.prev, it)
		return
	}
	if s.cur == nil || s.cur.video {
		// The video keeps the clock as long as there is one that moves.
		stuck := s.cur != nil && f.PTS.Sub(s.cur.seg.Start) > s.limit()+rounding-max(s.cur.lead, 50*time.Millisecond)
		if !stuck && (s.lanes.video() != nil || s.cur != nil && f.PTS.Sub(s.cur.videoEnd) < goneAfter) {
			s.audioBesideVideo(it)
			return
		}
		if !s.alone(it) {
			s.open(it, s.cur != nil)
		}
		return
	}
	params, known := s.cur.trackParams(f.Track)
	end := boundary(s.cur.seg.Start, s.grid)
	if f.Track != s.cur.seg.Tracks[0].ID {
		end = end.Add(forcedAfter) // the first track makes the cuts, and another one when it has fallen silent
	}
	switch {
	case s.broken, known && params != it.track.Params:
		s.open(it, true)
	case f.PTS >= end:
		s.open(it, false)
	default:
		s.addAudio(s.cur, it)
	}
}

// alone begins a broadcast with the sound that waited for its first picture, followed by the
// frame that waits no more. It reports false when nothing waited.
func (s *segmenter) alone(it item) bool {
	held := s.joins(&it)
	for _, h := range held {
		s.take(h)
	}
	if len(held) > 0 {
		s.take(it)
	}
	return len(held) > 0
}

// joins empties the hold of early sound and counts what does not join the frame.
func (s *segmenter) joins(it *item) []item {
	held, dropped := s.before.take(it)
	s.dropped[dropEarlySound] += dropped
	return held
}

func (s *segmenter) audioBesideVideo(it item) {
	switch {
	case s.cur == nil && s.early:
		s.dropped[dropEarlySound] += s.before.hold(it)
	case s.cur == nil:
		s.dropped[dropEarlySound]++
	case s.broken:
		s.dropped[dropOutside]++
	default:
		if params, ok := s.cur.trackParams(it.frame.Track); ok && params != it.track.Params {
			s.retrack = true
		}
		s.addAudio(s.cur, it)
	}
}

// addAudio adds a frame of sound unless it comes before the segment's sound or the segment
// knows its track with other parameters or not at all.
func (s *segmenter) addAudio(o *openSegment, it item) {
	params, ok := o.trackParams(it.frame.Track)
	if !ok || params != it.track.Params || it.gen != o.gen || it.frame.PTS < o.sound {
		s.dropped[dropOutside]++
		return
	}
	o.lead = max(o.lead, it.lead(o.seg.Start))
	o.add(it.frame, media.Audio)
}

// open begins a segment with the frame and ends the one before it.
func (s *segmenter) open(it item, discontinuity bool) {
	if s.prev != nil {
		s.closePrev()
	}
	f := &it.frame
	video := s.lanes.kindOf(f.Track) == media.Video
	if video && f.Key {
		s.key(f.PTS)
	}
	start := f.PTS
	continues := s.cur != nil && !s.broken
	if continues && s.cur.length(start) > s.limit()+rounding {
		continues = false // nothing came where the segment had to end: it ends with its media
	}
	if s.cur != nil {
		start = max(start, s.cur.seg.Start+media.Time(time.Microsecond))
		s.early = false
		s.prev, s.prevEnd = s.cur, start
		if !continues {
			s.prevEnd = s.mediaEnd()
		}
	}
	s.number++
	first := s.cur == nil
	s.cur = &openSegment{
		seg: live.Segment{
			Start: start, Number: s.number, Tracks: s.tracks(it, discontinuity || first),
			Discontinuity: discontinuity || first || !continues, Independent: f.Key, Target: s.target,
		},
		part: s.part, emit: s.hand, gen: it.gen, video: video, sound: start, lastVideo: -1,
		leading: video && f.Key && it.track.Params.Codec() == "HEVC",
	}
	if s.prev != nil {
		s.cur.size = s.prev.size
		if !continues || !video {
			s.closePrev()
		}
	}
	if !video && s.target == 0 {
		s.decide(targetDuration(s.grid, 0))
	}
	s.broken, s.retrack = false, false
	if first && s.early && video {
		s.cur.sound = start.Add(-maxLead)
		for _, h := range s.joins(&it) {
			s.addAudio(s.cur, h)
		}
	}
	s.cur.add(it.frame, s.lanes.kindOf(f.Track))
}

// key notes a keyframe. The distance of the first two decides the target duration.
func (s *segmenter) key(pts media.Time) {
	if s.cur != nil && s.cur.video && !s.broken && s.lastKey != 0 {
		if gop := pts.Sub(s.lastKey); s.target == 0 && gop > 0 {
			s.longest = max(s.longest, s.cur.length(pts))
			s.decide(targetDuration(s.grid, gop))
		}
	}
	s.lastKey = pts
}

// tracks lists the tracks of a new segment: that of its first frame and every other one
// that carries frames. A new start takes the newest parameters, a continuation those that
// the frames have come with so far.
func (s *segmenter) tracks(it item, anew bool) []media.Track {
	var tracks []media.Track
	for _, l := range s.lanes.lanes {
		t := *l.track
		switch {
		case l.id == it.frame.Track:
			t = *it.track
		case !s.lanes.active(l), l.kind == media.Video:
			continue
		case !anew && l.live != nil:
			t = *l.live
		case !anew && l.len() > 0:
			t = *l.first().track
		}
		tracks = append(tracks, t)
	}
	slices.SortFunc(tracks, func(a, b media.Track) int { return int(a.ID) - int(b.ID) })
	s.name(tracks)
	if s.cur != nil && slices.Equal(tracks, s.cur.seg.Tracks) {
		return s.cur.seg.Tracks
	}
	return tracks
}

// name takes the languages away while there is one track of sound: nobody can choose then, and
// playlists are what they are without. Once there were several it stays with them.
func (s *segmenter) name(tracks []media.Track) {
	sounds := 0
	for i := range tracks {
		if tracks[i].Params.Kind() == media.Audio {
			sounds++
		}
	}
	s.several = s.several || sounds > 1
	for i := range tracks {
		if !s.several || tracks[i].Params.Kind() != media.Audio {
			tracks[i].Language = ""
		}
	}
}

// mediaEnd is where the open segment ends when nothing continues it: with its media, if these
// end in time.
func (s *segmenter) mediaEnd() media.Time {
	return min(s.cur.mediaEnd(), s.latest(s.cur))
}

// latest is when all renditions of a segment have to end.
func (s *segmenter) latest(o *openSegment) media.Time {
	return o.seg.Start.Add(s.limit() + rounding - o.lead)
}

func (s *segmenter) closePrev() {
	s.prev.trim(s.latest(s.prev))
	s.longest = max(s.longest, s.prev.length(s.prevEnd))
	s.prev.close(s.prevEnd, false)
	s.prev = nil
}

// flush ends the feed: its last part is final.
func (s *segmenter) flush() {
	if s.prev != nil {
		s.closePrev()
	}
	if s.cur == nil {
		s.dropped[dropEarlySound] += uint64(len(s.before.items))
		s.before = earlySound{}
		return
	}
	end := s.mediaEnd()
	s.longest = max(s.longest, s.cur.length(end))
	if s.target == 0 {
		s.decide(targetDuration(s.grid, min(end.Sub(s.cur.seg.Start), MaxTarget)))
	}
	s.cur.trim(s.latest(s.cur))
	s.cur.close(end, true)
	s.cur = nil
}

// hand numbers a part and passes it on. Until the target duration is known it waits, because
// all parts of a segment say the same of it.
func (s *segmenter) hand(p live.Part) {
	s.seq++
	p.Seq, p.Data = s.seq, s.data
	s.data, s.dataBytes = nil, 0
	if s.target != 0 {
		p.Segment.Target = s.target
		s.emit(p)
		return
	}
	s.waiting = append(s.waiting, p)
	s.waitBytes += p.Size()
	span := p.Frames[len(p.Frames)-1].DTS.Sub(s.waiting[0].Segment.Start)
	if s.waitBytes > maxUndecided || span >= MaxTarget-s.part {
		s.decide(MaxTarget)
	}
}

// maxPartData bounds the timed data of a part in bytes.
const maxPartData = 256 << 10

// addData holds timed data for the next part.
func (s *segmenter) addData(d media.Data) {
	if len(s.data) == live.MaxPartData || s.dataBytes+len(d.Payload) > maxPartData {
		s.dropped[dropData]++
		return
	}
	s.data, s.dataBytes = append(s.data, d), s.dataBytes+len(d.Payload)
}

// decide fixes the target duration, which has to hold for what has been cut already.
func (s *segmenter) decide(target time.Duration) {
	held := (s.longest - rounding + time.Second - 1).Truncate(time.Second)
	target = min(max(target, held), MaxTarget)
	s.target = target
	if s.onTarget != nil {
		s.onTarget(target)
	}
	for i := range s.waiting {
		s.waiting[i].Segment.Target = target
		s.emit(s.waiting[i])
		s.waiting[i] = live.Part{}
	}
	s.waiting, s.waitBytes = nil, 0
	for _, o := range []*openSegment{s.prev, s.cur} {
		if o != nil {
			o.seg.Target = target
		}
	}
}
