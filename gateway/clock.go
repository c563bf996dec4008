package gateway

import (
	"math/bits"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

const (
	// stepBack is how far a track's own source time may go back before its clock counts as
	// set anew: beyond jitter there is no other reason for it.
	stepBack = time.Second
	// lateStep bounds the step by which a track continues a run that another track has left.
	lateStep = 1500 * time.Millisecond
)

// neighbours is how a clock learns of the feeds of its (entry, index) when it has to anchor.
// It calls decide with the mappings that may be joined and the last end that any of the
// feeds has announced, and makes the answer known to the others before any of them anchors;
// it may call decide again when somebody was faster. first is set for the first anchor.
type neighbours func(first bool, decide func(clocks []live.ClockRecord, lastEnd media.Time) live.ClockRecord)

// clock turns the wrapped source times of one feed into media time (design rule "one
// clock"). It unwraps against the newest source time of all tracks, so that tracks may
// interleave around the wrap. Not safe for concurrent use.
type clock struct {
	rate  uint32
	bits  uint8
	peers neighbours

	cur, old *mapping
	// end is the latest presentation end handed out, endArrival when its frame came.
	end, endArrival media.Time
}

// mapping is one run of source time without a jump.
type mapping struct {
	// gen numbers the runs of the feed from 1.
	gen uint32
	// offset is media time minus source time in nanoseconds, modulo 2^64.
	offset int64
	// newest is the unwrapped source time, in ticks, of the access unit that came last;
	// first is where the run began.
	newest, first int64
}

// at maps unwrapped ticks to media time.
func (m *mapping) at(ticks int64, rate uint32) media.Time {
	return media.Time(sourceNanos(ticks, rate) + m.offset)
}

// trackClock is a clock's memory of one track.
type trackClock struct {
	gen  uint32
	last int64 // ticks
	// shift takes the track's ticks to the scale of the other tracks after a jump that
	// this track did not take part in.
	shift int64
}

func newClock(s SourceClock, peers neighbours) *clock {
	return &clock{rate: s.Rate, bits: s.Bits, peers: peers}
}

// place finds the mapping for an access unit of a track and its unwrapped time in ticks.
func (c *clock) place(t *trackClock, raw uint64, now media.Time) (*mapping, int64) {
	if c.cur == nil {
		m, u := c.anchor(raw, now)
		c.cur = m
		t.gen, t.last = m.gen, u
		return m, u
	}
	if m, u, ok := c.placeLate(t, raw); ok {
		return m, u
	}
	u := c.unwrap(raw, c.cur.newest+t.shift) - t.shift
	jump := u - c.cur.newest
	back := t.gen == c.cur.gen && u < t.last-c.ticks(stepBack)
	if jump > c.ticks(MaxJump) || jump < -c.ticks(MaxJump) || back {
		c.old = c.cur
		c.cur, u = c.anchor(raw, now)
		t.shift = 0
	}
	c.cur.newest = u
	t.gen, t.last = c.cur.gen, u
	return c.cur, u
}

// placeLate keeps a track that has not taken part in a jump on the mapping before it:
// interleaving lets it lag. A track that still has not when its media time has come to the
// jump never will: it gets a shift.
func (c *clock) placeLate(t *trackClock, raw uint64) (*mapping, int64, bool) {
	if c.old == nil || t.gen != c.old.gen {
		return nil, 0, false
	}
	u := c.unwrap(raw, t.last+t.shift) - t.shift
	if step := u - t.last; step <= -c.ticks(lateStep) || step > c.ticks(lateStep) {
		return nil, 0, false
	}
	if c.old.at(u, c.rate) < c.cur.at(c.cur.first, c.rate) {
		t.last = u
		return c.old, u, true
	}
	shift := media.ToTicks(time.Duration(c.cur.offset-c.old.offset), c.rate)
	t.shift += shift
	u -= shift
	t.gen, t.last = c.cur.gen, u
	return c.cur, u, true
}

// anchor begins a run: it joins the mapping whose live edge the source time agrees with
// best, or maps the source time to the later of arrival and the last announced end, made whole for
// players. Media time never goes back within the feed.
func (c *clock) anchor(raw uint64, now media.Time) (*mapping, int64) {
	m := &mapping{gen: 1}
	if c.cur != nil {
		m.gen = c.cur.gen + 1
	}
	c.peers(c.cur == nil, func(clocks []live.ClockRecord, lastEnd media.Time) live.ClockRecord {
		m.offset, m.newest = c.choose(raw, now, clocks, lastEnd)
		return live.ClockRecord{
			Offset: time.Duration(m.offset), LastMedia: m.at(m.newest, c.rate), LastArrival: now,
		}
	})
	m.first = m.newest
	return m, m.newest
}

// choose returns the offset of a new run and the unwrapped ticks of its first access unit.
func (c *clock) choose(raw uint64, now media.Time, clocks []live.ClockRecord, lastEnd media.Time) (offset, ticks int64) {
	if c.cur != nil {
		clocks = append(clocks, c.record())
	}
	best := AlignWindow + 1
	for _, r := range clocks {
		edge := r.LastMedia + now - r.LastArrival
		u := c.unwrap(raw, media.ToTicks(time.Duration(int64(edge)-int64(r.Offset)), c.rate))
		at := media.Time(sourceNanos(u, c.rate) + int64(r.Offset))
		if d := at.Sub(edge).Abs(); d < best && (c.cur == nil || at >= c.end) {
			best, offset, ticks = d, int64(r.Offset), u
		}
	}
	if best > AlignWindow {
		ticks = c.unwrap(raw, 0)
		offset = int64(forPlayers(max(now, lastEnd, c.end))) - sourceNanos(ticks, c.rate)
	}
	return offset, ticks
}

// announce notes that media up to end were handed out.
func (c *clock) announce(end, now media.Time) {
	if end > c.end {
		c.end, c.endArrival = end, now
	}
}

// record is what another feed needs to join this one's mapping.
func (c *clock) record() live.ClockRecord {
	r := live.ClockRecord{LastMedia: c.end, LastArrival: c.endArrival}
	if c.cur != nil {
		r.Offset = time.Duration(c.cur.offset)
	}
	return r
}

// unwrap returns the time that is congruent to raw and nearest to ref, in ticks.
func (c *clock) unwrap(raw uint64, ref int64) int64 {
	unused := 64 - c.bits
	return ref + int64((raw-uint64(ref))<<unused)>>unused
}

func (c *clock) ticks(d time.Duration) int64 { return media.ToTicks(d, c.rate) }

// sourceNanos converts ticks to nanoseconds modulo 2^64. A 64-bit counter may stand where
// nanoseconds don't reach; sums with a mapping's offset come out right all the same.
func sourceNanos(ticks int64, rate uint32) int64 {
	n := uint64(ticks)
	if ticks < 0 {
		n = -n
	}
	hi, lo := bits.Mul64(n, uint64(time.Second))
	lo, carry := bits.Add64(lo, uint64(rate)/2, 0)
	q, _ := bits.Div64((hi+carry)%uint64(rate), lo, uint64(rate))
	if ticks < 0 {
		return -int64(q)
	}
	return int64(q)
}
