package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/node"
)

// TestAgainEverRarer: a bus that stays broken does not have the node start in a loop, one that was
// well for long begins anew at once, and neither a signal nor another failure waits.
func TestAgainEverRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &process{log: slog.New(slog.DiscardHandler)}
		last := errors.New("a listener failed")
		starts := 0
		var waited []time.Duration
		run := func() error {
			starts++
			failed := make(chan error, 1)
			lived := time.Second
			switch starts {
			case 9:
				lived = againSoon
			case 10:
				time.AfterFunc(2*time.Second, func() { failed <- last })
			}
			time.Sleep(lived)
			failed <- node.ErrAgain
			begin := time.Now()
			err := p.supervise(ctx, failed)
			waited = append(waited, time.Since(begin))
			return err
		}
		if err := p.again(ctx, run); !errors.Is(err, last) {
			t.Errorf("ended by %v", err)
		}
		want := []time.Duration{5, 10, 20, 40, 80, 160, 300, 300, 0, 1}
		for i := range want {
			if want[i] *= time.Second; i >= len(waited) || waited[i] != want[i] {
				t.Fatalf("waited %v, want %v", waited, want)
			}
		}
		time.AfterFunc(3*time.Second, cancel)
		begin := time.Now()
		if err := p.again(ctx, run); err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("a signal: %v after %v", err, time.Since(begin))
		}
	})
}
