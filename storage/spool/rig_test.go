package spool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"klive/storage"
	"klive/storage/spool"
	"klive/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("503 slow down")

// faults is a store that fails as it is told.
type faults struct {
	*storagetest.Memory

	// mu guards the fields below.
	mu     sync.Mutex
	put    func(ctx context.Context, key string) error
	order  []string // keys in the order in which they were stored
	open   int      // puts that are on their way
	parall int      // the most of them at a time
}

func newFaults() *faults {
	f := &faults{Memory: storagetest.NewMemory()}
	f.Before = func(ctx context.Context, op, key string) error {
		if op != "put" {
			return nil
		}
		f.mu.Lock()
		put := f.put
		f.open++
		f.parall = max(f.parall, f.open)
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			f.open--
			f.mu.Unlock()
		}()
		if put == nil {
			return nil
		}
		return put(ctx, key)
	}
	f.After = func(_ context.Context, _, key string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.order = append(f.order, key)
		return nil
	}
	return f
}

func (f *faults) set(put func(ctx context.Context, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = put
}

func (f *faults) stored() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.order...)
}

func down(context.Context, string) error { return errDown }

func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func slow(d time.Duration) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rig is a spool in front of a store with faults.
type rig struct {
	t     *testing.T
	store *faults
	dir   string
	spool *spool.Spool

	// mu guards the fields below.
	mu      sync.Mutex
	settled map[string][]error
}

func newRig(t *testing.T, change ...func(*spool.Config)) *rig {
	r := &rig{t: t, store: newFaults(), dir: t.TempDir(), settled: map[string][]error{}}
	r.start(change...)
	return r
}

func (r *rig) start(change ...func(*spool.Config)) {
	r.t.Helper()
	cfg := spool.Config{Store: r.store, Dir: r.dir, MaxBytes: 1 << 20, MaxAge: 10 * time.Minute, After: time.Second}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if r.spool, err = spool.Open(cfg); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.spool.Close)
}

func key(n int) string  { return fmt.Sprintf("kLive/0_rkij47dr_32/b1/%06d-1.m4s", n) }
func text(n int) string { return strings.Repeat(fmt.Sprintf("%06d ", n), 100) }

var mediaOptions = storage.PutOptions{ContentType: "video/mp4", CacheControl: "immutable", IfAbsent: true}

// put stores object n as a packager would.
func (r *rig) put(n int) bool {
	r.t.Helper()
	held, err := r.spool.PutMedia(r.t.Context(), key(n), [][]byte{[]byte(text(n))[:10], []byte(text(n))[10:]}, mediaOptions, r.note(n))
	if err != nil {
		r.t.Fatalf("PutMedia %d: %v", n, err)
	}
	return held
}

func (r *rig) note(n int) func(error) {
	return func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settled[key(n)] = append(r.settled[key(n)], err)
	}
}

func (r *rig) outcome(n int) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settled[key(n)]
}

// wantSettled holds object n's one callback against what it should say.
func (r *rig) wantSettled(n int, want error) {
	r.t.Helper()
	if got := r.outcome(n); len(got) != 1 || !errors.Is(got[0], want) {
		r.t.Errorf("object %d: settled with %v, want once %v", n, got, want)
	}
}

func (r *rig) get(s storage.Store, n int, rng *storage.Range) (string, error) {
	body, _, err := s.Get(r.t.Context(), key(n), rng)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

// wantGet says that object n can be read whole.
func (r *rig) wantGet(s storage.Store, n int) {
	r.t.Helper()
	if got, err := r.get(s, n, nil); err != nil || got != text(n) {
		r.t.Errorf("object %d: %.20q, %v", n, got, err)
	}
}
