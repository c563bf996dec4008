package node

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// TestClockSteps: what a clock is moved by is told, and what it runs is not. (That tick sees a real
// step is shown with a clock that is stepped, by the fault kit.)
func TestClockSteps(t *testing.T) {
	log := &buffer{}
	c := &clock{log: slog.New(slog.NewTextHandler(log, nil))}
	last := time.Now()
	if c.tick(last, last.Add(time.Second)) || c.tick(last, last.Add(time.Hour)) {
		t.Error("time that runs is a step")
	}
	c.asked, c.bus = last, 0
	c.note(-5 * time.Second)
	if c.stepped() != 1 || !strings.Contains(log.String(), "stepped") || !strings.Contains(log.String(), "by=-5s") {
		t.Errorf("%v steps; %s", c.stepped(), log)
	}
	if _, known := c.busOff(time.Now()); known {
		t.Error("what the bus's clock was before the step still counts")
	}
}

// TestBusClock: the bus's own stamps tell its time, as far as the call allows.
func TestBusClock(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		b, err := bustest.Start(t).Bucket(t.Context(), bus.BucketConfig{Name: "claims", TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		off, err := busOffset(t.Context(), b, "clock.me")
		if err != nil || off.Abs() > 10*time.Millisecond {
			t.Errorf("%v, %v", off, err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := busOffset(gone, b, "clock.me"); err == nil {
			t.Error("an answer without a bus")
		}
	})
}

// TestClockJury: the bus's clock is one voice among the others', and of two that differ the one
// that speaks for this clock counts.
func TestClockJury(t *testing.T) {
	for name, c := range map[string]struct {
		bus    time.Duration
		known  bool
		others []time.Duration
		wrong  bool
	}{
		"nobody":                         {0, false, nil, false},
		"the bus alone":                  {5 * time.Second, true, nil, false},
		"the bus and one that agrees":    {5 * time.Second, true, []time.Duration{5 * time.Second}, true},
		"the bus and one that does not":  {5 * time.Second, true, []time.Duration{0}, false},
		"two against the bus":            {0, true, []time.Duration{-3 * time.Second, -2 * time.Second}, true},
		"one of three is off":            {0, true, []time.Duration{0, 4 * time.Second}, false},
		"two others":                     {0, false, []time.Duration{2 * time.Second, 3 * time.Second}, true},
		"two others, one of them agrees": {0, false, []time.Duration{0, 3 * time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := &clock{log: slog.New(slog.DiscardHandler), bus: c.bus}
			now := time.Now()
			if c.known {
				k.asked = now
			}
			var peers []peer
			for i, off := range c.others {
				p := peer{heard: now}
				p.Name, p.Time = string(rune('a'+i)), now.Add(-off)
				peers = append(peers, p)
			}
			k.compare(peers, "me")
			if err := k.wrong(); (err != nil) != c.wrong {
				t.Errorf("%v", err)
			}
		})
	}
}
