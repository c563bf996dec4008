package spool_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/storage/spool"
)

// A process that ends drains what the store takes, and says what it leaves behind.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		put   func(context.Context, string) error // the store while the process ends
		limit time.Duration
		took  time.Duration // at most
		away  bool
		left  bool
	}{
		{name: "the store answers", limit: 30 * time.Second, took: 2 * time.Second},
		{name: "the store is away", put: down, away: true, limit: 30 * time.Second, took: 0, left: true},
		{name: "the store is slower than the end", put: slow(2 * time.Second), limit: time.Second, took: time.Second, left: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r := newRig(t, func(s *spool.Config) { s.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				r.store.set(down)
				for n := range 5 {
					r.put(n)
				}
				r.store.set(c.put)
				if !c.away {
					r.waitBack()
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				began := time.Now()
				r.spool.Drain(ctx)
				if took := time.Since(began); took > c.took {
					t.Errorf("draining took %v, want at most %v", took, c.took)
				}
				left := r.spool.Stats()
				r.spool.Close()
				told := strings.Count(log.String(), "exist nowhere else")
				if !c.left && (left.Objects != 0 || told != 0) {
					t.Errorf("%d objects left, told %d times", left.Objects, told)
				}
				if c.left && (left.Objects == 0 || told != 1 || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), r.dir)) {
					t.Errorf("%d objects left, told %d times:\n%s", left.Objects, told, log.String())
				}
			})
		})
	}
}

// waitBack waits until the spool knows that the store answers.
func (r *rig) waitBack() {
	r.t.Helper()
	for range 1000 {
		if r.spool.Stats().AwaySince.IsZero() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("the store never came back")
}
