package gateway

import (
	"time"

	"klive/infra/media"
)

const (
	// maxHold is how long, in the feed's own progress, a frame waits for tracks that send
	// nothing: encoders interleave to within a second.
	maxHold = 1250 * time.Millisecond
	// expectHold is how long the start waits for kinds of track that were only spoken of.
	expectHold = 500 * time.Millisecond
	// goneAfter is when a silent track no longer holds anything up and leaves the segments.
	goneAfter = 10 * time.Second
	// maxStep bounds what one frame adds to the progress, so that a gap is no progress.
	maxStep = 200 * time.Millisecond
	// maxHeld bounds the bytes that wait, frameCost is what each frame counts for itself.
	maxHeld   = 24 << 20
	frameCost = 256
	// minGap is the shortest hole in all tracks that counts as a gap.
	minGap = time.Second
	// defaultStep is the duration of a video frame that no other one tells of.
	defaultStep = 33 * time.Millisecond
)

// item is a frame on its way through the cutter.
type item struct {
	frame media.Frame
	gen   uint32       // the clock's run
	track *media.Track // the parameters in force for it
	// nominal is how long such a frame lasts by nature, 0 when it is not known yet.
	nominal time.Duration
	seen    time.Duration // progress when it came
	// gap marks the first frame after a hole in all tracks.
	gap bool
}

// lane is the queue of one track. DTS rises within it.
type lane struct {
	id    media.TrackID
	kind  media.Kind
	track *media.Track // newest parameters
	live  *media.Track // parameters of the frame released last

	queue     []item
	head      int
	created   time.Duration // progress when the track was announced
	seen      time.Duration // progress when its last frame came
	sent      bool          // it has sent a frame
	step      time.Duration // distance of its last two frames
	usual     time.Duration // what its frames last by nature; 0 when it is not known yet
	newest    media.Time
	newestGen uint32
}

func (l *lane) len() int     { return len(l.queue) - l.head }
func (l *lane) first() *item { return &l.queue[l.head] }

func (l *lane) pop() item {
	it := l.queue[l.head]
	l.queue[l.head] = item{}
	l.head++
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	} else if l.head >= 256 {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return it
}

// interleaver puts the frames of all tracks into one order: by run of the clock, then by
// DTS, video first. It looks one frame ahead in each track to set durations, and sees gaps.
//
// It counts time in progress: how far the feed's newest DTS has moved, each step bounded.
// Neither a stalled network nor a burst nor a gap in the timestamps is progress, so they
// don't push frames out before the other tracks have had their turn.
type interleaver struct {
	lanes    []*lane
	progress time.Duration
	leader   media.Time
	leadGen  uint32
	held     int                  // bytes
	expected [media.Audio + 1]int // tracks that were announced, by kind

	out     item // the frame released last
	started bool
}

// lane returns the track's lane.
func (v *interleaver) lane(id media.TrackID) *lane {
	for _, l := range v.lanes {
		if l.id == id {
			return l
		}
	}
	return nil
}

// announce adds a track or gives it new parameters for the frames that follow.
func (v *interleaver) announce(t *media.Track) {
	if l := v.lane(t.ID); l != nil {
		l.track = t
		return
	}
	v.lanes = append(v.lanes, &lane{id: t.ID, kind: t.Params.Kind(), track: t, created: v.progress})
}

// push queues a frame. It reports false when the frame's turn is over and it has to be
// dropped.
func (v *interleaver) push(l *lane, it item) bool {
	if v.started && (it.gen < v.out.gen || it.gen == v.out.gen && it.frame.DTS < v.out.frame.DTS) {
		v.await(l)
		return false
	}
	switch {
	case it.gen > v.leadGen:
		v.leader, v.leadGen = it.frame.DTS, it.gen
	case it.gen == v.leadGen && it.frame.DTS > v.leader:
		v.progress += min(it.frame.DTS.Sub(v.leader), maxStep)
		v.leader = it.frame.DTS
	}
	if n := len(l.queue); n > l.head {
		l.queue[n-1].settle(&it)
	}
	l.learnStep(&it)
	it.seen, it.track = v.progress, l.track
	l.seen, l.sent, l.newest, l.newestGen = v.progress, true, it.frame.DTS, it.gen
	l.queue = append(l.queue, it)
	v.held += it.cost()
	return true
}

// await has the others wait for a track whose frames are left out, so that it catches up.
func (v *interleaver) await(l *lane) { l.seen, l.sent = v.progress, true }

// learnStep sets the frame's nominal duration, unless it brings one, to the smaller of the
// last two distances: so a single hole in the track does not count.
func (l *lane) learnStep(it *item) {
	if it.nominal == 0 {
		it.nominal = l.usual
		if l.sent && it.gen == l.newestGen {
			step := it.frame.DTS.Sub(l.newest)
			if it.nominal = step; l.step > 0 {
				it.nominal = min(step, l.step)
			}
			l.step = step
		}
	}
	l.usual = it.nominal
}

// settle sets the frame's duration from the one after it.
func (it *item) settle(next *item) {
	if next.gen == it.gen {
		it.frame.Duration = next.frame.DTS.Sub(it.frame.DTS)
	} else {
		it.frame.Duration = it.lasting()
	}
}

// lasting is the frame's nominal duration, or a guess.
func (it *item) lasting() time.Duration {
	if it.nominal > 0 {
		return it.nominal
	}
	if p, ok := it.track.Params.(media.VideoParams); ok && p.FrameRate() > 0 {
		return time.Duration(float64(time.Second) / p.FrameRate())
	}
	return defaultStep
}

// pull releases the next frame. ok is false when there is none yet; with flush, when there
// is none left.
func (v *interleaver) pull(flush bool) (it item, ok bool) {
	l := v.next()
	if l == nil || !flush && v.held <= maxHeld && !v.ripe(l) {
		return it, false
	}
	it = l.pop()
	v.held -= it.cost()
	v.setDuration(l, &it, flush)
	if v.started && it.gen == v.out.gen && it.frame.DTS.Sub(v.out.frame.DTS) > v.gapLimit() {
		it.gap = true
	}
	l.live = it.track
	v.out, v.started = it, true
	v.out.frame.Payload = nil
	return it, true
}

// next is the lane whose first frame comes before all others'.
func (v *interleaver) next() *lane {
	var best *lane
	for _, l := range v.lanes {
		if l.len() > 0 && (best == nil || l.first().before(best.first())) {
			best = l
		}
	}
	return best
}

func (it *item) before(o *item) bool {
	if it.gen != o.gen {
		return it.gen < o.gen
	}
	if it.frame.DTS != o.frame.DTS {
		return it.frame.DTS < o.frame.DTS
	}
	return it.frame.Track < o.frame.Track
}

// ripe reports whether the lane's first frame has its duration and nothing can come before it.
func (v *interleaver) ripe(l *lane) bool {
	if !v.started && v.missing() {
		return false
	}
	it := l.first()
	if l.len() < 2 && v.progress-l.seen < maxHold {
		return false
	}
	long := it.frame.Duration > v.gapLimit()
	for _, o := range v.lanes {
		if o == l || v.silent(o, it) {
			continue
		}
		if o.len() == 0 || long && o.newestGen == it.gen && o.newest < it.frame.DTS.Add(v.gapLimit()) {
			return false
		}
	}
	return true
}

// silent reports whether a lane has had its time to send what comes before a frame.
func (v *interleaver) silent(o *lane, it *item) bool {
	if !o.sent {
		return v.progress-o.created >= maxHold
	}
	return v.progress-max(o.seen, it.seen) >= maxHold || v.progress-o.seen >= goneAfter
}

// missing reports whether an announced track has still time to appear.
func (v *interleaver) missing() bool {
	if v.progress >= expectHold {
		return false
	}
	var sent [len(v.expected)]int
	for _, l := range v.lanes {
		if l.sent {
			sent[l.kind]++
		}
	}
	for k, n := range v.expected {
		if sent[k] < n {
			return true
		}
	}
	return false
}

// active reports whether a lane carries frames now.
func (v *interleaver) active(l *lane) bool {
	return l.sent && (l.len() > 0 || v.progress-l.seen < goneAfter)
}

// video returns the video lane that segments are cut by: one that sends frames or is about
// to; nil when there is none.
func (v *interleaver) video() *lane {
	for _, l := range v.lanes {
		if l.kind == media.Video && (v.active(l) || !l.sent && v.progress-l.created < maxHold) {
			return l
		}
	}
	return nil
}

// gapLimit is the distance beyond which a hole in all tracks is a gap: a second, or more
// when the densest track's frames are further apart than that by nature.
func (v *interleaver) gapLimit() time.Duration {
	dense := time.Duration(0)
	for _, l := range v.lanes {
		if !v.active(l) {
			continue
		}
		usual := l.usual
		if l.len() > 0 && l.first().nominal > 0 {
			usual = l.first().nominal // the frames before the hole that is looked at
		}
		if usual == 0 {
			return MaxJump
		}
		if dense == 0 || usual < dense {
			dense = usual
		}
	}
	return max(minGap, dense*5/2)
}

// setDuration completes the duration of a frame that is released: one that nothing follows
// lasts until the others' newest frame, and one before a gap ends where the gap begins.
func (v *interleaver) setDuration(l *lane, it *item, flush bool) {
	f := &it.frame
	if f.Duration == 0 {
		f.Duration = it.lasting()
		if !flush && it.gen == v.leadGen && l.kind == media.Video {
			f.Duration = max(f.Duration, min(v.leader.Sub(f.DTS), maxHold))
		}
		return
	}
	limit := v.gapLimit()
	if f.Duration <= limit {
		return
	}
	next := f.DTS.Add(f.Duration)
	cover := v.cover(it, next, limit)
	if next.Sub(cover) > limit {
		f.Duration = max(it.lasting(), cover.Sub(f.DTS))
	}
}

// cover is the last frame of any track that can be reached from it in steps within limit.
func (v *interleaver) cover(it *item, next media.Time, limit time.Duration) media.Time {
	cover := it.frame.DTS
	for moved := true; moved; {
		moved = false
		for _, l := range v.lanes {
			for i := l.head; i < len(l.queue); i++ {
				q := &l.queue[i]
				if q.gen == it.gen && q.frame.DTS > cover && q.frame.DTS < next && q.frame.DTS.Sub(cover) <= limit {
					cover, moved = q.frame.DTS, true
				}
			}
		}
	}
	return cover
}

// kindOf is the kind of an announced track.
func (v *interleaver) kindOf(id media.TrackID) media.Kind { return v.lane(id).kind }
