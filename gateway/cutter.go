package gateway

import (
	"fmt"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// maxTracks bounds the tracks of one feed.
const maxTracks = 16

// cutterConfig is what a cutter is made of.
type cutterConfig struct {
	feed  live.Feed
	clock SourceClock
	peers neighbours
	// grid is D, part the part duration.
	grid, part time.Duration
	// target is the broadcast's target duration, 0 when it has none yet.
	target time.Duration
	// starts says that this feed starts a broadcast: the first segment is cut early.
	starts bool
	// joins says that it begins where the others' segments do.
	joins bool
	// emit takes the parts, in order. onTarget hears the target duration once it is decided
	// here; may be nil.
	emit     func(*live.Part)
	onTarget func(time.Duration)
}

// cutter turns the access units of one feed into parts: clock, audio grid, interleave,
// segments. Not safe for concurrent use.
type cutter struct {
	clock  *clock
	tick   time.Duration // one tick of the source clock
	order  interleaver
	seg    segmenter
	tracks []*cutTrack
}

// cutTrack is what the clock knows of one track.
type cutTrack struct {
	track media.Track
	lane  *lane
	clock trackClock
	grid  audioGrid // audio
	opus  bool
	fixed int        // samples in a frame; 0 when each says so itself
	last  media.Time // DTS of the last frame of video; 0 before it
	// later is by how much video is later than its source says, in run begun of the clock.
	later time.Duration
	begun uint32
	// spoilt says that a picture was left out: those up to the next keyframe depend on it.
	spoilt bool
}

func newCutter(c cutterConfig) *cutter {
	t := &cutter{
		clock: newClock(c.clock, c.peers),
		tick:  max(media.FromTicks(1, c.clock.Rate), time.Second/90000),
	}
	t.seg = segmenter{
		grid: c.grid, part: c.part, target: c.target, early: c.starts && !c.joins, onGrid: c.joins, lanes: &t.order, onTarget: c.onTarget,
		emit: func(p live.Part) {
			p.Feed = c.feed
			c.emit(&p)
		},
	}
	return t
}

// expect says of which kinds the tracks are that will come, one for each.
func (c *cutter) expect(kinds ...media.Kind) {
	var n [len(c.order.expected)]int
	for _, k := range kinds {
		n[k]++
		c.order.expected[k] = max(c.order.expected[k], min(n[k], maxTracks))
	}
}

// setTrack announces a track or new parameters for it.
func (c *cutter) setTrack(t media.Track) error {
	if t.Params == nil {
		return &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("track %d has no codec parameters", t.ID)}
	}
	if err := live.CheckParams(t.Params); err != nil {
		return &Refusal{Reason: ReasonMedia, Err: err, Text: fmt.Sprintf("track %d has %v; restart the encoder, or set it up anew", t.ID, err)}
	}
	old := c.track(t.ID)
	sound, isSound := t.Params.(media.AudioParams)
	switch {
	case isSound && sound.SampleRate() == 0:
		return &Refusal{Reason: ReasonMedia, Text: "the audio has no sample rate"}
	case old == nil && len(c.tracks) >= maxTracks:
		return &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("the stream has more than %d tracks", maxTracks)}
	case old != nil && old.track.Params.Kind() != t.Params.Kind():
		return &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("track %d was %s and can't become %s", t.ID, old.track.Params.Kind(), t.Params.Kind())}
	case old != nil && old.track.Params.Equal(t.Params):
		if old.track.Language != t.Language { // the next segment says so; nothing is cut for it
			old.track.Language = t.Language
			named := old.track
			c.order.announce(&named)
		}
		return nil
	case old == nil:
		old = &cutTrack{}
		c.tracks = append(c.tracks, old)
	}
	old.track = t
	if isSound {
		if old.grid.rate != sound.SampleRate() {
			old.grid = newAudioGrid(sound.SampleRate(), &old.grid)
		}
		old.fixed = sound.FrameSamples()
		_, old.opus = t.Params.(*media.Opus)
	}
	c.order.announce(&t)
	old.lane = c.order.lane(t.ID)
	return nil
}

func (c *cutter) track(id media.TrackID) *cutTrack {
	for _, t := range c.tracks {
		if t.track.ID == id {
			return t
		}
	}
	return nil
}

// write takes one access unit that arrived now.
func (c *cutter) write(au *AccessUnit, now media.Time) error {
	t := c.track(au.Track)
	if t == nil {
		return &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("track %d sends media before its codec parameters", au.Track)}
	}
	if len(au.Payload) == 0 {
		return nil
	}
	run := t.clock.gen
	m, ticks := c.clock.place(&t.clock, au.Time, now)
	if t.clock.gen != run {
		t.grid.leave()
	}
	it := item{gen: m.gen, frame: media.Frame{Track: au.Track, Key: au.Key, Payload: au.Payload}}
	if t.lane.kind == media.Audio {
		if !c.placeAudio(t, m.at(ticks+int64(au.Offset), c.clock.rate), &it) {
			c.seg.dropped[dropOverlap]++
			return nil
		}
	} else {
		c.placeVideo(t, m, ticks, au.Offset, &it)
	}
	if !c.push(t, it) {
		c.seg.dropped[dropLate]++
		return nil
	}
	c.clock.announce(it.frame.PTS.Add(t.lane.usual), now)
	c.drain(false)
	if o := c.seg.cur; o != nil && o.overfull() {
		return &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("more than %d MB or %d frames within %v; lower the bitrate or mend the timestamps",
			maxPartBytes>>20, maxPartFrames, c.seg.part)}
	}
	return nil
}

// push queues a frame. It reports false when the frame's turn is over, or that of a picture that
// it depends on.
func (c *cutter) push(t *cutTrack, it item) bool {
	if t.spoilt && !it.frame.Key {
		c.order.await(t.lane)
		return false
	}
	ok := c.order.push(t.lane, it)
	t.spoilt = !ok && t.lane.kind == media.Video
	return ok
}

// data gives timed data the feed's time. It goes with the part that is made next.
func (c *cutter) data(d *Datum) {
	m := c.clock.cur
	if m == nil || len(d.Payload) > media.MaxData {
		c.seg.dropped[dropData]++ // nothing says when it is, or it is too much
		return
	}
	ticks := m.newest
	if d.Timed {
		ticks = c.clock.unwrap(d.Time, ticks)
	}
	c.seg.addData(media.Data{Format: d.Format, Time: m.at(ticks, c.clock.rate), Payload: d.Payload})
}

// placeVideo passes video times through, but for what players need at the beginning. DTS rises
// whatever the source says, and PTS follows it by no more than MaxJump: one nonsensical offset would
// put the end of the timeline, which everything after it has to follow, far into the future.
func (c *cutter) placeVideo(t *cutTrack, m *mapping, ticks int64, offset int32, it *item) {
	f := &it.frame
	f.DTS = m.at(ticks, c.clock.rate)
	f.PTS = m.at(ticks+int64(offset), c.clock.rate)
	if f.Key && t.begun != m.gen {
		t.begun, t.later = m.gen, nudge(f.PTS)
	}
	f.DTS, f.PTS = f.DTS.Add(t.later), f.PTS.Add(t.later)
	if t.last != 0 && f.DTS <= t.last {
		f.DTS = t.last.Add(c.tick)
	}
	if f.PTS < f.DTS || f.PTS.Sub(f.DTS) > MaxJump {
		f.PTS = f.DTS
	}
	t.last = f.DTS
}

// placeAudio puts a frame of sound on the track's grid.
func (c *cutter) placeAudio(t *cutTrack, source media.Time, it *item) bool {
	samples := t.fixed
	if t.opus {
		samples = int(media.ToTicks(media.OpusPacketDuration(it.frame.Payload), t.grid.rate))
	}
	if samples == 0 {
		return false
	}
	start, ok := t.grid.place(source, samples)
	it.frame.DTS, it.frame.PTS, it.frame.Key = start, start, true
	it.nominal = t.grid.end().Sub(start)
	return ok
}

func (c *cutter) drain(flush bool) {
	for {
		it, ok := c.order.pull(flush)
		if !ok {
			return
		}
		c.seg.take(it)
	}
}

// flush hands on everything that waits and ends the feed.
func (c *cutter) flush() {
	c.drain(true)
	c.seg.flush()
}
