package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/storage"
	"klive/storage/spool"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex // guards the field below
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(words string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), words)
}

// The log goes on telling of an outage, and tells when its reason becomes another one.
func TestOutageIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		r := newRig(t, func(c *spool.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		fail := func(code string) func(context.Context, string) error {
			return func(_ context.Context, key string) error {
				return fmt.Errorf("put %s: %s (request 4F2A%p)", key, code, &code)
			}
		}
		minutes := func(n, from int) {
			for i := range n * 15 {
				r.put(from + i)
				time.Sleep(4 * time.Second)
			}
		}
		r.store.set(fail("AccessDenied"))
		minutes(3, 0)
		if n := log.count("AccessDenied"); n < 3 || n > 4 {
			t.Errorf("%d lines in three minutes, want one a minute:\n%s", n, log.text.String())
		}
		if s := r.spool.Stats(); !strings.Contains(s.Reason, "AccessDenied") {
			t.Errorf("stats %+v", s)
		}
		r.store.set(fail("SignatureDoesNotMatch"))
		minutes(1, 100)
		if n := log.count("SignatureDoesNotMatch"); n < 1 || n > 2 {
			t.Errorf("%d lines about the new reason", n)
		}
		r.store.set(nil)
		time.Sleep(time.Minute)
		if n := log.count("the store answers again"); n != 1 || r.spool.Stats().Reason != "" {
			t.Errorf("%d times back, stats %+v", n, r.spool.Stats())
		}
	})
}

// A store that is full takes small objects and no large ones: that is one outage, not hundreds.
func TestFullStoreIsOneOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		r := newRig(t, func(c *spool.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		r.store.set(func(_ context.Context, key string) error {
			if strings.Contains(key, "_a1/") || !strings.HasPrefix(key, "kLive/") {
				return nil
			}
			return storage.ErrFull
		})
		var wg sync.WaitGroup
		const segments = 30
		for n := range segments {
			for _, name := range []string{"0_rkij47dr_32", "0_rkij47dr_a1"} {
				wg.Go(func() {
					at := fmt.Sprintf("kLive/%s/b1/%06d-1.m4s", name, n)
					if _, err := r.spool.PutMedia(t.Context(), at, [][]byte{[]byte(text(n))}, mediaOptions, nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				_, err := r.spool.Put(t.Context(), "state/head.json", nil, storage.PutOptions{})
				if err != nil && !errors.Is(err, spool.ErrAway) {
					t.Error(err)
				}
			})
			wg.Wait()
			time.Sleep(4 * time.Second)
		}
		away, back := log.count("away; finished media"), log.count("takes objects again; it was full")
		if most := segments * 4 / 10; away < 1 || away > most+1 || back > away || log.count("away=0s") > 0 || log.count("answers again") > 0 {
			t.Errorf("%d times away and %d times back in %d s, want one each 10 s at most:\n%s", away, back, segments*4, log.text.String())
		}
	})
}
