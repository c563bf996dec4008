package spool_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
	"klive/storage/spool"
	"klive/storage/storagetest"
)

// A spool in front of a store that works is that store.
func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s, err := spool.Open(spool.Config{Store: storagetest.NewMemory(), Dir: t.TempDir(), MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	})
}

func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if r.put(1) {
			t.Error("held although the store works")
		}
		r.wantGet(r.store, 1)
		if _, err := r.spool.PutMedia(t.Context(), key(1), nil, mediaOptions, nil); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("a second time: %v, want ErrPrecondition", err)
		}
		if _, err := r.spool.PutMedia(t.Context(), "/bad", nil, mediaOptions, nil); !errors.Is(err, storage.ErrKey) {
			t.Errorf("bad key: %v", err)
		}
		time.Sleep(time.Minute)
		if got := r.outcome(1); got != nil || r.spool.Stats() != (spool.Stats{}) {
			t.Errorf("settled %v, stats %+v", got, r.spool.Stats())
		}
	})
}

// outage runs a minute of segments of 4 s against a store that fails in some way, and
// checks that each PutMedia was quick, that reads find everything all the while, and that
// all is stored in order soon after the store is back.
func outage(t *testing.T, fault func(context.Context, string) error) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(0)
		r.store.set(fault)
		for n := 1; n <= 15; n++ {
			began := time.Now()
			if !r.put(n) {
				t.Errorf("object %d is not held", n)
			}
			if took := time.Since(began); took > time.Second || n > 1 && took > 0 {
				t.Errorf("object %d took %v", n, took)
			}
			_, err := r.spool.Put(t.Context(), "state/head.json", [][]byte{[]byte("x")}, storage.PutOptions{})
			if err == nil || n > 1 && !errors.Is(err, spool.ErrAway) {
				t.Errorf("another write at %d: %v, want ErrAway", n, err)
			}
			if took := time.Since(began); took > 4*time.Second || n > 1 && took > 0 {
				t.Errorf("writes at %d took %v", n, took)
			}
			r.wantGet(r.spool, n)
			time.Sleep(time.Until(began.Add(4 * time.Second)))
		}
		if s := r.spool.Stats(); s.Objects != 15 || s.AwaySince.IsZero() || s.Oldest < 50*time.Second || s.Bytes != 15*700 {
			t.Errorf("stats %+v", s)
		}
		r.store.set(slow(50 * time.Millisecond))
		time.Sleep(12 * time.Second) // the probe that hangs, and a pause
		for n := 1; n <= 15; n++ {
			r.wantSettled(n, nil)
			r.wantGet(r.store, n)
		}
		got := r.store.stored()
		if len(got) != 16 {
			t.Errorf("stored %v", got)
		}
		// Several go at a time, so neighbours may change places; and one may have been the probe.
		far := 0
		for n := range 16 {
			if at := slices.Index(got, key(n)); at < n-5 || at > n+5 {
				far++
			}
		}
		if far > 1 {
			t.Errorf("stored in the order %v", got)
		}
		if s := r.spool.Stats(); s != (spool.Stats{}) {
			t.Errorf("stats afterwards %+v", s)
		}
		if r.put(16) {
			t.Error("held although the store is back")
		}
		if _, err := r.spool.Put(t.Context(), "state/head.json", [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestStoreFails(t *testing.T) { outage(t, down) }
func TestStoreHangs(t *testing.T) { outage(t, hang) }

// A store that stops for a minute within calls, and then answers them all.
func TestStoreStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		resume := make(chan struct{})
		r.store.set(func(ctx context.Context, _ string) error {
			select {
			case <-resume:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for n := range 2 {
			if !r.put(n) {
				t.Errorf("object %d is not held", n)
			}
		}
		close(resume)
		time.Sleep(time.Millisecond)
		// The attempts that were overtaken have ended well, which settled their objects.
		for n := range 2 {
			r.wantSettled(n, nil)
		}
		if s := r.spool.Stats(); s != (spool.Stats{}) {
			t.Errorf("stats %+v", s)
		}
	})
}

// A store that always takes longer than After but works is not away again and again.
func TestSlowStore(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		trips int // how often it counts as away at most
	}{{1500 * time.Millisecond, 0}, {2900 * time.Millisecond, 0}, {5 * time.Second, 1}, {9 * time.Second, 1}} {
		t.Run(tt.takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.store.set(slow(tt.takes))
				trips, away := 0, false
				for n := range 30 {
					began := time.Now()
					if !r.put(n) {
						t.Errorf("object %d is not held", n)
					}
					for time.Since(began) < 4*time.Second {
						now := !r.spool.Stats().AwaySince.IsZero()
						if now && !away {
							trips++
						}
						away = now
						time.Sleep(100 * time.Millisecond)
					}
				}
				if trips > tt.trips {
					t.Errorf("away %d times, want at most %d", trips, tt.trips)
				}
				if _, err := r.spool.Put(t.Context(), "state/head.json", nil, storage.PutOptions{}); err != nil {
					t.Errorf("another write: %v", err)
				}
				time.Sleep(20 * time.Second)
				for n := range 30 {
					r.wantSettled(n, nil)
				}
			})
		})
	}
}

// What is over budget goes, the oldest first.
func TestOverBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *spool.Config) { c.MaxBytes = 10 * 700 })
		r.store.set(down)
		for n := range 15 {
			r.put(n)
		}
		synctest.Wait()
		for n := range 5 {
			r.wantSettled(n, spool.ErrGivenUp)
			if _, err := r.get(r.spool, n, nil); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("object %d: %v", n, err)
			}
		}
		if s := r.spool.Stats(); s.Objects != 10 || s.Bytes != 7000 {
			t.Errorf("stats %+v", s)
		}
		if _, err := r.spool.PutMedia(t.Context(), key(99), [][]byte{make([]byte, 7001)}, mediaOptions, r.note(99)); !errors.Is(err, spool.ErrGivenUp) {
			t.Errorf("an object larger than the budget: %v", err)
		}
		r.store.set(nil)
		time.Sleep(5 * time.Second)
		for n := 5; n < 15; n++ {
			r.wantSettled(n, nil)
		}
		if got := r.outcome(99); got != nil {
			t.Errorf("the large object's callback was called: %v", got)
		}
	})
}

func TestOverAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, func(c *spool.Config) { c.MaxAge = time.Minute; c.Registerer = reg })
		r.store.set(down)
		for n := range 20 {
			r.put(n)
			time.Sleep(10 * time.Second)
		}
		if s := r.spool.Stats(); s.Objects > 8 || s.Oldest > 71*time.Second {
			t.Errorf("stats %+v", s)
		}
		for n := range 12 {
			r.wantSettled(n, spool.ErrGivenUp)
		}
		if list, err := reg.Gather(); err != nil || len(list) != 8 {
			t.Errorf("%d metrics, %v", len(list), err)
		}
	})
}

// An object that the store refuses does not hold up the others for ever.
func TestStubbornObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.store.set(func(_ context.Context, k string) error {
			if k == key(0) {
				return errors.New("access denied")
			}
			return nil
		})
		if !r.put(0) {
			t.Error("not held")
		}
		for n := 1; n < 20; n++ {
			r.put(n)
			time.Sleep(4 * time.Second)
		}
		for n := 1; n < 20; n++ {
			r.wantGet(r.store, n)
		}
		if s := r.spool.Stats(); s.Objects != 1 || !s.AwaySince.IsZero() {
			t.Errorf("stats %+v", s)
		}
		if _, err := r.spool.Put(t.Context(), "state/head.json", nil, storage.PutOptions{}); err != nil {
			t.Errorf("another write: %v", err)
		}
	})
}

// With nothing spooled, one write a second finds out whether the store is back.
func TestTrialWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.store.set(down)
		tried := 0
		for range 100 {
			_, err := r.spool.Put(t.Context(), "a", nil, storage.PutOptions{})
			if err == nil {
				t.Fatal("the store is down")
			}
			if !errors.Is(err, spool.ErrAway) {
				tried++
			}
			if !errors.Is(err, errDown) {
				t.Errorf("the store's own error is missing: %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if tried < 8 || tried > 12 {
			t.Errorf("%d writes in 10 s were tried", tried)
		}
		r.store.set(nil)
		time.Sleep(time.Second)
		if _, err := r.spool.Put(t.Context(), "a", nil, storage.PutOptions{}); err != nil {
			t.Error(err)
		}
		if err := r.spool.Delete(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	})
}

// A conflict or a caller that goes away says nothing about the store.
func TestNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(1)
		if _, err := r.spool.Put(t.Context(), key(1), nil, storage.PutOptions{IfMatch: "other"}); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("conflict: %v", err)
		}
		r.store.set(hang)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := r.spool.PutMedia(ctx, key(2), nil, mediaOptions, r.note(2)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller without patience: %v", err)
		}
		if s := r.spool.Stats(); s != (spool.Stats{}) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestReadsAndDeletesWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(1)
		r.store.set(down)
		r.put(2)
		for _, tt := range []struct {
			r    storage.Range
			want string
		}{{storage.Range{Offset: 0, Length: 6}, "000002"}, {storage.Range{Offset: 693, Length: 100}, "000002 "}, {storage.Range{Offset: 698, Length: -1}, "2 "}} {
			if got, err := r.get(r.spool, 2, &tt.r); err != nil || got != tt.want {
				t.Errorf("range %+v: %q, %v", tt.r, got, err)
			}
		}
		if _, err := r.get(r.spool, 2, &storage.Range{Offset: 700, Length: 1}); !errors.Is(err, storage.ErrRange) {
			t.Errorf("range behind the end: %v", err)
		}
		body, info, err := r.spool.Get(t.Context(), key(2), nil)
		if err != nil || info.Size != 700 || info.ContentType != "video/mp4" || info.CacheControl != "immutable" || info.ETag == "" || info.Modified.IsZero() {
			t.Fatalf("%+v, %v", info, err)
		}
		r.wantGet(r.spool, 1)
		if err := r.spool.Delete(t.Context(), key(2)); !errors.Is(err, spool.ErrAway) {
			t.Errorf("Delete = %v, want ErrAway", err)
		}
		synctest.Wait()
		r.wantSettled(2, spool.ErrGivenUp)
		if b, err := io.ReadAll(body); err != nil || string(b) != text(2) {
			t.Errorf("a reader from before: %.10q, %v", b, err)
		}
		body.Close()
		r.store.Before = func(ctx context.Context, op, _ string) error {
			if op == "get" {
				return hang(ctx, "")
			}
			return errDown
		}
		began := time.Now()
		if _, err := r.get(r.spool, 1, nil); !errors.Is(err, spool.ErrAway) || time.Since(began) > time.Second {
			t.Errorf("a read while nothing answers: %v after %v", err, time.Since(began))
		}
	})
}

// A body has the time that a slow line needs for it.
func TestLargeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *spool.Config) { c.MaxBytes = 64 << 20 })
		large := [][]byte{make([]byte, 32<<20)} // 8 s more than the 10 s of a small one
		media := func(n int) bool {
			held, err := r.spool.PutMedia(t.Context(), key(n), large, mediaOptions, r.note(n))
			if err != nil {
				t.Fatal(err)
			}
			return held
		}
		r.store.set(slow(10500 * time.Millisecond))
		if !media(1) {
			t.Error("a slow write is waited for")
		}
		time.Sleep(10 * time.Second)
		r.wantSettled(1, nil)
		if s := r.spool.Stats(); s != (spool.Stats{}) {
			t.Errorf("a line of 3 MiB/s: %+v", s)
		}
		if _, err := r.spool.Put(t.Context(), "a", large, storage.PutOptions{}); err != nil {
			t.Errorf("a large write that is no media: %v", err)
		}

		r.store.set(down)
		media(2)
		r.store.set(slow(17 * time.Second)) // the loop's attempts have as long
		time.Sleep(25 * time.Second)
		r.wantSettled(2, nil)

		r.store.set(slow(19 * time.Second))
		media(3)
		time.Sleep(18500 * time.Millisecond)
		if s := r.spool.Stats(); s.Objects != 1 || s.AwaySince.IsZero() {
			t.Errorf("a store that takes too long: %+v", s)
		}
	})
}
