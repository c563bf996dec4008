package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
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
				if got := strings.Contains(w.log.String(), "the oldest were dropped"); got != tt.lost {
					t.Errorf("the log says lost: %v", got)
				}
			})
		})
	}
}
