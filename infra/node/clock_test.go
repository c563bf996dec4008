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
	c.note(-5*time.Second, last)
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

// behind is a bus whose server that answers has not heard of the newest write yet.
type behind struct{ *bus.Bucket }

func (b behind) Get(ctx context.Context, key string) (bus.KeyValue, error) {
	kv, err := b.Bucket.Get(ctx, key)
	kv.Revision, kv.At = kv.Revision-1, kv.At.Add(-busClockEvery)
	return kv, err
}

// TestBusClockOfALateReplica: the stamp of a write before this one says nothing of the bus's time now.
func TestBusClockOfALateReplica(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		b, err := bustest.Start(t).Bucket(t.Context(), bus.BucketConfig{Name: "claims", TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if off, err := busOffset(t.Context(), behind{b}, "clock.me"); err == nil {
			t.Errorf("the bus's clock is taken to be behind by %v", off)
		}
	})
}

// TestClockIsComparedAnewAfterAStep: a beat that was heard before this clock was stepped, the newest of its
// peer for a while, does not speak for it.
func TestClockIsComparedAnewAfterAStep(t *testing.T) {
	c := &clock{log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	before := beatsOf(now, 0, 0)
	c.compare(before, "me")
	now = now.Add(time.Second)
	c.note(5*time.Second, now)
	c.compare(before, "me")
	for look := range clockLooks {
		now = now.Add(time.Second)
		c.compare(beatsOf(now, 5*time.Second, 5*time.Second), "me")
		if err := c.wrong(); (err != nil) != (look == clockLooks-1) {
			t.Errorf("look %d: %v", look, err)
		}
	}
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
			for look := range clockLooks {
				if err := k.wrong(); err != nil {
					t.Errorf("after %d looks: %v", look, err)
				}
				k.compare(beatsOf(now.Add(time.Duration(look)*time.Second), c.others...), "me")
			}
			if err := k.wrong(); (err != nil) != c.wrong {
				t.Errorf("%v", err)
			}
		})
	}
}

// beatsOf is what is heard of peers, this clock being ahead of theirs by so much.
func beatsOf(heard time.Time, ahead ...time.Duration) (peers []peer) {
	for i, off := range ahead {
		p := peer{heard: heard}
		p.Name, p.Time = string(rune('a'+i)), heard.Add(-off)
		peers = append(peers, p)
	}
	return peers
}

// TestClockOfAStarvedProcess: beats that are heard late, all of them, are no clock that is ahead,
// and a clock that runs away is found out all the same.
func TestClockOfAStarvedProcess(t *testing.T) {
	k := &clock{log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	step := func(late time.Duration) error {
		now = now.Add(time.Second)
		k.compare(beatsOf(now, late, late+100*time.Millisecond), "me")
		return k.wrong()
	}
	// It starts without a processor: two looks at late beats.
	for _, late := range []time.Duration{4 * time.Second, 3 * time.Second, 0} {
		if err := step(late); err != nil {
			t.Errorf("at the start: %v", err)
		}
	}
	// Then it has none for a while.
	for i, late := range []time.Duration{5 * time.Second, 4 * time.Second, 3 * time.Second, 2 * time.Second, 0, 0} {
		if err := step(late); err != nil || k.ahead() > 200*time.Millisecond {
			t.Errorf("late beat %d: %v, %v ahead", i, err, k.ahead())
		}
	}
	found := 0
	for step(2*time.Second) == nil && found < 20 {
		found++
	}
	if found != clockBeats-1+clockLooks-1 {
		t.Errorf("a clock that is ahead is found out after %d looks", found)
	}
	// One that is behind is not taken for late beats.
	if err := step(0); err != nil {
		t.Errorf("well again: %v", err)
	}
	for i := range clockLooks {
		if err := step(-2 * time.Second); (err != nil) != (i == clockLooks-1) {
			t.Errorf("behind, look %d: %v", i, err)
		}
	}
}
