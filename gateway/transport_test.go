package gateway

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"os"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
	"klive/infra/media/ts"
)

// cutterPublication lets a transport stream go to a cutter in virtual time.
type cutterPublication struct{ b *bench }

func (p cutterPublication) SetTrack(t media.Track) error { return p.b.cut.setTrack(t) }
func (p cutterPublication) Expect(k ...media.Kind)       { p.b.cut.expect(k...) }
func (p cutterPublication) Write(au AccessUnit) error    { return p.b.cut.write(&au, p.b.now) }
func (p cutterPublication) Data(d Datum) error           { p.b.cut.data(&d); return nil }
func (p cutterPublication) Done() <-chan struct{}        { return nil }
func (p cutterPublication) Err() error                   { return nil }
func (p cutterPublication) Close(error)                  {}

// loop plays a transport stream of two seconds over and over: its times, clock and continuity
// counters go on.
type loop struct {
	t        *testing.T
	file     []byte
	counters map[uint16]byte
	// moved is where the video's PID is; 0 leaves it.
	moved uint16
}

const (
	loopPeriod = 2 * time.Second
	loopVideo  = 0x100
	loopPMT    = 0x1000
	loopMask   = 1<<33 - 1
)

func newLoop(t *testing.T) *loop {
	t.Helper()
	b, err := os.ReadFile("../infra/media/ts/testdata/multi.ts")
	if err != nil {
		t.Fatal(err)
	}
	return &loop{t: t, file: b, counters: map[uint16]byte{}}
}

// round is the next two seconds, with all times later by so many ticks.
func (l *loop) round(by uint64) []byte {
	b := append([]byte(nil), l.file...)
	for p := b; len(p) >= 188; p = p[188:] {
		pid := binary.BigEndian.Uint16(p[1:]) & 0x1fff
		if p[3]&0x10 != 0 {
			p[3] = p[3]&0xf0 | l.counters[pid]
			l.counters[pid] = (l.counters[pid] + 1) & 0x0f
		}
		at := 4
		if p[3]&0x20 != 0 {
			if n := p[4]; n >= 7 && p[5]&0x10 != 0 {
				moveClock(p[6:], by)
			}
			at += 1 + int(p[4])
		}
		if pid >= loopVideo && pid < loopVideo+5 && p[1]&0x40 != 0 {
			if p[at+7]&0x80 != 0 {
				moveTime(p[at+9:], by)
			}
			if p[at+7]&0x40 != 0 {
				moveTime(p[at+14:], by)
			}
		}
		if l.moved != 0 {
			l.move(p, pid)
		}
	}
	return b
}

// move gives the video another PID, in packets and in the program map.
func (l *loop) move(p []byte, pid uint16) {
	switch pid {
	case loopVideo:
		binary.BigEndian.PutUint16(p[1:], binary.BigEndian.Uint16(p[1:])&0xe000|l.moved)
	case loopPMT:
		section := p[5:]
		size := 3 + int(binary.BigEndian.Uint16(section[1:])&0xfff)
		binary.BigEndian.PutUint16(section[8:], 0xe000|l.moved)
		binary.BigEndian.PutUint16(section[13:], 0xe000|l.moved)
		binary.BigEndian.PutUint32(section[size-4:], mpegSum(section[:size-4]))
	}
}

// mpegSum is MPEG's CRC-32: that of the standard library with all bits the other way round.
func mpegSum(b []byte) uint32 {
	turned := make([]byte, len(b))
	for i, v := range b {
		turned[i] = bits.Reverse8(v)
	}
	return bits.Reverse32(^crc32.ChecksumIEEE(turned))
}

func moveTime(b []byte, by uint64) {
	v := uint64(b[0]>>1&7)<<30 | uint64(b[1])<<22 | uint64(b[2]>>1)<<15 | uint64(b[3])<<7 | uint64(b[4]>>1)
	v = (v + by) & loopMask
	b[0] = b[0]&0xf1 | byte(v>>30)<<1
	b[1], b[2] = byte(v>>22), byte(v>>15)<<1|1
	b[3], b[4] = byte(v>>7), byte(v)<<1|1
}

func moveClock(b []byte, by uint64) {
	v := uint64(b[0])<<25 | uint64(b[1])<<17 | uint64(b[2])<<9 | uint64(b[3])<<1 | uint64(b[4]>>7)
	v = (v + by) & loopMask
	b[0], b[1], b[2], b[3] = byte(v>>25), byte(v>>17), byte(v>>9), byte(v>>1)
	b[4] = b[4]&0x7f | byte(v)<<7
}

// play sends rounds to a cutter and returns the segments with a discontinuity, how many
// segments there were, and the reader's counts. times tells each round's shift in ticks.
func (l *loop) play(rounds int, times func(round int) uint64, change func(round int)) (breaks, count int, stats ts.Stats) {
	l.t.Helper()
	b := newBench(l.t, func(c *cutterConfig) { c.clock = TransportClock() })
	stream := NewTransport(cutterPublication{b})
	last := media.Time(0)
	for i := range rounds {
		if change != nil {
			change(i)
		}
		data := l.round(times(i))
		for at := 0; at < len(data); at += 1316 {
			b.now = b.epoch.Add(time.Duration(i)*loopPeriod + loopPeriod*time.Duration(at)/time.Duration(len(data)))
			if _, err := stream.Write(data[at:min(at+1316, len(data))]); err != nil {
				l.t.Fatal(err)
			}
		}
		for _, p := range b.parts {
			if p.Number == 0 {
				count++
				if p.Segment.Discontinuity {
					breaks++
				}
				if p.Segment.Start <= last {
					l.t.Fatalf("segment %d begins %v before the one in front of it", p.Segment.Number, last.Sub(p.Segment.Start))
				}
				last = p.Segment.Start
			}
		}
		b.parts = b.parts[:0]
	}
	return breaks, count, stream.Stats()
}

// TestTransportWrap runs over the wrap of the 33-bit clock, 26.5 hours of it when proving.
func TestTransportWrap(t *testing.T) {
	check.Calculation(t)
	rounds := check.Length(int(27*time.Hour/loopPeriod), 300)
	l := newLoop(t)
	start := uint64(1<<33) - uint64(min(rounds/2, 150))*2*ts.Rate
	breaks, count, stats := l.play(rounds, func(i int) uint64 { return start + uint64(i)*2*ts.Rate }, nil)
	t.Logf("%v of media in %d segments", time.Duration(rounds)*loopPeriod, count)
	if want := rounds / 2; breaks != 1 || count < want-2 || count > want+2 {
		t.Errorf("%d discontinuities in %d segments, want 1 in %d", breaks, count, want)
	}
	if stats.Continuity+stats.Damaged+stats.Malformed+stats.ClockJumps != 0 {
		t.Errorf("a sound stream counts %+v", stats)
	}
}

// TestTransportJumps lets the source's clock jump: the timeline goes on, with a discontinuity.
func TestTransportJumps(t *testing.T) {
	for name, jump := range map[string]int64{"an hour ahead": 3600 * ts.Rate, "half a minute back": -30 * ts.Rate, "to a clock that begins anew": -7200 * ts.Rate} {
		t.Run(name, func(t *testing.T) {
			breaks, count, stats := newLoop(t).play(20, func(i int) uint64 {
				at := int64(8000*ts.Rate) + int64(i)*2*ts.Rate
				if i >= 10 {
					at += jump
				}
				return uint64(at)
			}, nil)
			if breaks != 2 || count < 9 {
				t.Errorf("%d discontinuities in %d segments, want 2 in about 10", breaks, count)
			}
			if stats.ClockJumps != 1 || stats.Damaged != 0 {
				t.Errorf("the reader counts %+v, want one jump of the clock", stats)
			}
		})
	}
}

// TestTransportProgramChange moves the video to another PID under way: it goes on as the same
// track, without a discontinuity.
func TestTransportProgramChange(t *testing.T) {
	l := newLoop(t)
	breaks, count, stats := l.play(20, func(i int) uint64 { return uint64(i) * 2 * ts.Rate }, func(round int) {
		if round == 10 {
			l.moved = 0x300
		}
	})
	if breaks != 1 || count < 9 {
		t.Errorf("%d discontinuities in %d segments, want 1 in about 10", breaks, count)
	}
	if stats.Continuity+stats.Damaged+stats.Malformed != 0 {
		t.Errorf("the reader counts %+v", stats)
	}
}
