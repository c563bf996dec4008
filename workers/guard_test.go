package workers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/storage/storagetest"
)

// TestGuardAsksOnce lets many writers come at once after a while without a renewal.
func TestGuardAsksOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFences(t, storagetest.NewMemory())
		g := &guard{lease: f.lease, within: 2 * time.Second}
		check := func() {
			t.Helper()
			if err := g.check(t.Context()); err != nil {
				t.Error(err)
			}
		}
		before := f.lease.Revision()
		if check(); f.lease.Revision() != before {
			t.Error("a fresh lease was asked for")
		}
		time.Sleep(2500 * time.Millisecond)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(check)
		}
		if wg.Wait(); f.lease.Revision() != before+1 {
			t.Errorf("%d renewals, want one", f.lease.Revision()-before)
		}
		time.Sleep(2500 * time.Millisecond)
		if _, err := bus.StealLease(t.Context(), f.leases, entry, "b", 15*time.Second, f.lease.Revision()); err != nil {
			t.Fatal(err)
		}
		if err := g.check(t.Context()); !errors.Is(err, bus.ErrLeaseLost) {
			t.Errorf("a robbed owner is told %v", err)
		}
	})
}

// TestGuardTellsOfTheLoss robs an owner that writes nothing: it hears of it with its next renewal.
func TestGuardTellsOfTheLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFences(t, storagetest.NewMemory())
		g := &guard{lease: f.lease, within: 2 * time.Second}
		lost := make(chan error, 1)
		var wg sync.WaitGroup
		wg.Go(func() { g.watch(t.Context(), func(err error) { lost <- err }) })
		time.Sleep(time.Minute + 50*time.Millisecond) // between two renewals
		if _, err := bus.StealLease(t.Context(), f.leases, entry, "b", 15*time.Second, f.lease.Revision()); err != nil {
			t.Fatal(err)
		}
		stolen := time.Now()
		if err := <-lost; !errors.Is(err, bus.ErrLeaseLost) || time.Since(stolen) > 3*time.Second {
			t.Errorf("told %v after %v", err, time.Since(stolen))
		}
		wg.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		g.watch(ended, func(error) {}) // returns
	})
}
