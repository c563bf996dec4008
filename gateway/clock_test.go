package gateway

import (
	"math"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// asClock returns a clock whose neighbours say what is in clocks and lastEnd.
func asClock(s SourceClock, clocks []live.ClockRecord, lastEnd media.Time) *clock {
	return newClock(s, func(_ bool, decide func([]live.ClockRecord, media.Time) live.ClockRecord) { decide(clocks, lastEnd) })
}

func TestClockWraps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		clock SourceClock
	}{
		{"RTMP", SourceClock{1000, 32}}, {"MPEG-TS", SourceClock{90000, 33}}, {"RTP audio", SourceClock{48000, 32}},
		{"fMP4", SourceClock{12800, 64}}, {"nanoseconds", SourceClock{1e9, 64}}, {"short", SourceClock{1000, 16}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := asClock(tt.clock, nil, 0)
			var video, audio trackClock
			mask := uint64(math.MaxUint64) >> (64 - tt.clock.Bits)
			step := uint64(media.ToTicks(40*time.Millisecond, tt.clock.Rate))
			back := uint64(media.ToTicks(300*time.Millisecond, tt.clock.Rate))
			start := mask - 20*step // wraps soon; audio follows 300 ms behind
			var first media.Time
			for i := range uint64(60) {
				m, ticks := c.place(&video, (start+i*step)&mask, testEpoch)
				if i == 0 {
					first = m.at(ticks, c.rate)
				}
				if got, want := m.at(ticks, c.rate).Sub(first), time.Duration(i)*40*time.Millisecond; (got-want).Abs() > time.Microsecond || m.gen != 1 {
					t.Fatalf("video %d lies at %v in run %d", i, got, m.gen)
				}
				m, ticks = c.place(&audio, (start+i*step-back)&mask, testEpoch)
				if got, want := m.at(ticks, c.rate).Sub(first), time.Duration(i)*40*time.Millisecond-300*time.Millisecond; (got-want).Abs() > time.Microsecond || m.gen != 1 {
					t.Fatalf("audio %d lies at %v in run %d", i, got, m.gen)
				}
			}
			if want := forPlayers(testEpoch); first != want || want.Sub(testEpoch) > playerTime {
				t.Errorf("anchored at %d, arrived at %d", first, testEpoch)
			}
		})
	}
}

func TestClockAnchors(t *testing.T) {
	const offset = 1_000_000 * time.Second
	now := testEpoch
	live1 := func(edge media.Time, ago time.Duration) live.ClockRecord {
		return live.ClockRecord{Offset: offset, LastMedia: edge.Add(-ago), LastArrival: now.Add(-ago)}
	}
	// source is the raw time that the mapping takes to t.
	source := func(at media.Time) uint64 { return uint64(int64(at.Add(-offset))/1e6) & 0xffffffff }
	edge := now.Add(-40 * time.Millisecond)
	for _, tt := range []struct {
		name    string
		clocks  []live.ClockRecord
		lastEnd media.Time
		raw     uint64
		want    media.Time // to the millisecond
	}{
		{"nobody there", nil, 0, 12345, now},
		{"the last end lies ahead", nil, now.Add(3 * time.Second), 12345, now.Add(3 * time.Second)},
		{"joins at the edge", []live.ClockRecord{live1(edge, 0)}, edge, source(edge), edge},
		{"joins 900 ms behind", []live.ClockRecord{live1(edge, 0)}, edge, source(edge.Add(-900 * time.Millisecond)), edge.Add(-900 * time.Millisecond)},
		{"1.1 s behind is another clock", []live.ClockRecord{live1(edge, 0)}, edge, source(edge.Add(-1100 * time.Millisecond)), now},
		{"1.1 s ahead is another clock", []live.ClockRecord{live1(edge, 0)}, edge, source(edge.Add(1100 * time.Millisecond)), now},
		{"joins a feed that ended two minutes ago", []live.ClockRecord{live1(edge, 2*time.Minute)}, edge.Add(-2 * time.Minute), source(edge), edge},
		{"an encoder that starts at 0 again", []live.ClockRecord{live1(edge, 0)}, edge, 0, now},
		{"the nearest of two", []live.ClockRecord{{Offset: offset + 500*time.Millisecond, LastMedia: edge, LastArrival: now}, live1(edge, 0)}, edge, source(edge), edge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := asClock(SourceClock{1000, 32}, tt.clocks, tt.lastEnd)
			m, ticks := c.place(&trackClock{}, tt.raw, now)
			if got := m.at(ticks, 1000); got.Sub(tt.want).Abs() > time.Millisecond {
				t.Errorf("anchored %v from where it should be", got.Sub(tt.want))
			}
		})
	}
}

func TestClockJumps(t *testing.T) {
	c := asClock(SourceClock{1000, 32}, nil, 0)
	var video trackClock
	now, raw := testEpoch, uint64(5000)
	send := func(step int64) (media.Time, uint32) {
		raw, now = raw+uint64(step), now.Add(40*time.Millisecond)
		m, ticks := c.place(&video, raw&0xffffffff, now)
		at := m.at(ticks, 1000)
		c.announce(at.Add(40*time.Millisecond), now)
		return at, m.gen
	}
	last, gen := send(0)
	for _, tt := range []struct {
		step int64
		jump bool
	}{{40, false}, {10_000, false}, {10_001, true}, {40, false}, {-10_001, true}, {-900, false}, {-1001, true}, {40, false}, {1 << 31, true}} {
		at, g := send(tt.step)
		if (g != gen) != tt.jump {
			t.Errorf("a step of %d ms: run %d after %d", tt.step, g, gen)
		}
		if tt.jump && at < last {
			t.Errorf("a jump of %d ms took media time back by %v", tt.step, last.Sub(at))
		}
		last, gen = c.end, g
	}
}

func TestSourceNanos(t *testing.T) {
	for _, tt := range []struct {
		ticks int64
		rate  uint32
		want  int64
	}{
		{1, 1000, 1e6}, {-1, 1000, -1e6}, {90000, 90000, 1e9}, {1, 90000, 11111}, {math.MaxInt64, 1e9, math.MaxInt64}, {0, 44100, 0},
	} {
		if got := sourceNanos(tt.ticks, tt.rate); got != tt.want {
			t.Errorf("%d ticks at %d Hz: %d, want %d", tt.ticks, tt.rate, got, tt.want)
		}
	}
	// Beyond the range of nanoseconds, differences still hold.
	for _, ticks := range []int64{math.MaxInt64 - 5000, 1 << 62, 1 << 55} {
		if d := sourceNanos(ticks+1000, 1000) - sourceNanos(ticks, 1000); d != 1e9 {
			t.Errorf("a second at %d lasts %d ns", ticks, d)
		}
	}
}

func TestTargetDuration(t *testing.T) {
	ms := time.Millisecond
	for _, tt := range []struct {
		d, gop time.Duration
		want   time.Duration // s
	}{
		{4000 * ms, 2000 * ms, 4}, {4000 * ms, 2001 * ms, 4}, {4000 * ms, 1999 * ms, 4}, {4000 * ms, 2003 * ms, 7},
		{4000 * ms, 1900 * ms, 6}, {4000 * ms, 3000 * ms, 7}, {4000 * ms, 4000 * ms, 4}, {4000 * ms, 10_000 * ms, 12},
		{4000 * ms, 5000 * ms, 9}, {4000 * ms, 500 * ms, 4}, {4000 * ms, 33 * ms, 4}, {4000 * ms, 0, 4},
		{1000 * ms, 1000 * ms, 1}, {1500 * ms, 500 * ms, 2}, {20_000 * ms, 2000 * ms, 12}, {6000 * ms, 2000 * ms, 6},
	} {
		if got := targetDuration(tt.d, tt.gop); got != tt.want*time.Second {
			t.Errorf("D %v, G %v: %v, want %ds", tt.d, tt.gop, got, tt.want)
		}
	}
}

func TestBoundary(t *testing.T) {
	for _, tt := range []struct{ at, want media.Time }{{0, 4e9}, {1, 4e9}, {4e9, 8e9}, {4e9 - 1, 4e9}, {-1, 0}, {-4e9, 0}} {
		if got := boundary(tt.at, 4*time.Second); got != tt.want {
			t.Errorf("after %d: %d, want %d", tt.at, got, tt.want)
		}
	}
}
