package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// stuckMedia is a media plane that is away for a while.
type stuckMedia struct {
	Publisher
	mu   sync.Mutex
	away bool
}

func (m *stuckMedia) set(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *stuckMedia) Publish(ctx context.Context, subject, id string, body bus.Body) (uint64, error) {
	m.mu.Lock()
	away := m.away
	m.mu.Unlock()
	if away {
		return 0, errors.New("no leader")
	}
	return m.Publisher.Publish(ctx, subject, id, body)
}

func TestBusAway(t *testing.T) {
	for _, tt := range []struct {
		away time.Duration
		lost bool
	}{{10 * time.Second, false}, {40 * time.Second, true}} {
		t.Run(tt.away.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				m := &stuckMedia{Publisher: w.ring}
				w.cfg.Media = m
				s := w.publish(w.gateway(), live.Primary, "_1")
				time.AfterFunc(5*time.Second, func() { m.set(true) })
				time.AfterFunc(5*time.Second+tt.away, func() { m.set(false) })
				w.play(s, source{fps: 25, gop: 50, length: 60 * time.Second})
				s.Close(nil)
				parts := w.parts(testID)
				holes := 0
				for i := 1; i < len(parts); i++ {
					if parts[i].Seq != parts[i-1].Seq+1 {
						holes++
						if parts[i].Number != 0 {
							t.Errorf("parts go on in the middle of segment %d", parts[i].Segment.Number)
						}
					}
				}
				if lost := holes > 0; lost != tt.lost || !parts[len(parts)-1].Final {
					t.Errorf("%d holes, %d parts", holes, len(parts))
				}
				// A part that waits is told once, not at each attempt.
				if n := strings.Count(w.log.String(), "not on the bus yet"); n < 1 || n > 10 {
					t.Errorf("%d lines about late parts", n)
				}
				if got := strings.Contains(w.log.String(), "parts were dropped"); got != tt.lost {
					t.Errorf("the log says lost: %v", got)
				}
			})
		})
	}
}

// brokenMedia is a media plane whose answers get lost at times, and that takes no part of
// one segment above a bound.
type brokenMedia struct {
	Publisher
	every   int    // each of so many answers is lost
	refuses string // a part's id
	mu      sync.Mutex
	calls   int
	refused int
}

func (m *brokenMedia) Publish(ctx context.Context, subject, id string, body bus.Body) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if id == m.refuses {
		m.refused++
		return 0, bus.ErrTooLarge
	}
	seq, err := m.Publisher.Publish(ctx, subject, id, body)
	if m.every > 0 && m.calls%m.every == 0 {
		return 0, bus.ErrUnavailable
	}
	return seq, err
}

// Parts whose acknowledgement was lost are sent again: each is on the bus once, in order.
func TestLostAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Media = &brokenMedia{Publisher: w.ring, every: 2}
		s := w.publish(w.gateway(), live.Primary, "_1")
		w.play(s, source{fps: 25, gop: 50, length: 20 * time.Second})
		s.Close(nil)
		parts := w.parts(testID)
		if len(parts) < 55 {
			t.Errorf("%d parts of 20 s", len(parts))
		}
		for i, p := range parts {
			if p.Seq != uint64(i+1) {
				t.Fatalf("part %d is number %d", i+1, p.Seq)
			}
		}
	})
}

// A part that can never be published is tried once, and takes its segment with it, not more.
func TestHopelessPart(t *testing.T) {
	inWorld(t, func(w *world) {
		m := &brokenMedia{Publisher: w.ring, refuses: "1-30"}
		w.cfg.Media = m
		s := w.publish(w.gateway(), live.Primary, "_1")
		w.play(s, source{fps: 25, gop: 50, length: 30 * time.Second})
		s.Close(nil)
		if m.refused != 1 {
			t.Errorf("tried %d times", m.refused)
		}
		parts := w.parts(testID)
		var spoiled uint64
		for i := 1; i < len(parts); i++ {
			if parts[i].Seq == parts[i-1].Seq+1 {
				continue
			}
			if spoiled != 0 || parts[i].Number != 0 || parts[i-1].Seq != 29 {
				t.Errorf("a hole from part %d to %d, which is number %d of its segment", parts[i-1].Seq, parts[i].Seq, parts[i].Number)
			}
			spoiled = parts[i-1].Segment.Number
		}
		if spoiled == 0 || !parts[len(parts)-1].Final {
			t.Errorf("no hole, or no end: %d parts", len(parts))
		}
		if n := strings.Count(w.log.String(), "can never take this part"); n != 1 {
			t.Errorf("%d lines about it", n)
		}
	})
}

// Media that come faster than they are shown, such as what a packager has kept while its network was away, wait for
// the bus like any others: it is how long they wait that counts, and not how long they last.
func TestOutboxTakesABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []uint64
		lost := 0
		o := newOutbox(func(_ context.Context, p *live.Part) error {
			time.Sleep(3 * time.Millisecond)
			sent = append(sent, p.Seq)
			return nil
		}, func(n int) { lost += n })
		for i := range 120 {
			o.push(&live.Part{
				Seq: uint64(i + 1), Segment: live.Segment{Number: uint64(i/12 + 1)},
				Frames: []media.Frame{{DTS: testEpoch.Add(time.Duration(i) * 333 * time.Millisecond), Payload: make([]byte, 1000)}},
			})
		}
		o.close()
		o.run(t.Context())
		if len(sent) != 120 || lost != 0 {
			t.Errorf("%d of 120 parts sent, %d given up", len(sent), lost)
		}
	})
}
