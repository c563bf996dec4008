package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// attempts notes when a file is opened that may be missing.
type attempts struct {
	*folder
	key string

	mu sync.Mutex // guards the field below
	at []time.Time
}

func (a *attempts) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	body, err := a.folder.Open(ctx, key, offset)
	if a.mu.Lock(); err != nil && key == a.key {
		a.at = append(a.at, time.Now())
	}
	a.mu.Unlock()
	return body, err
}

func (a *attempts) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at)
}

// A recorded file that can't be read is tried again in growing pauses, told once, shown, and joined
// when it is there again.
func TestUnreadableFile(t *testing.T) {
	const pause = 50 * time.Millisecond
	log, missing := &said{}, &attempts{}
	r := startRecordings(t, log.with, func(c *Config) { c.Sweep = pause }, func(c *Config) {
		missing.folder = c.Files.(*folder)
		c.Recorded = missing
	})
	good := clip(t, 50)
	add := func() {
		t.Helper()
		if _, err := r.append(kaltura.AppendRequest{Resource: r.upload(good), Duration: 2}); err != nil {
			t.Fatal(err)
		}
	}
	add()
	r.vod(1)
	problem := func() string {
		t.Helper()
		list, err := r.VODs(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0].Problem
	}
	if p := problem(); p != "" {
		t.Errorf("a problem from the beginning: %s", p)
	}
	doc, err := load[entryDoc](t.Context(), r.state, entryKey(r.entry.ID))
	if err != nil {
		t.Fatal(err)
	}
	missing.key = fileKey(doc.Recording.Segments[0].Chunks[0].File)
	r.files.mu.Lock()
	kept := r.files.files[missing.key]
	r.files.mu.Unlock()
	if err := r.files.Delete(t.Context(), missing.key); err != nil {
		t.Fatal(err)
	}
	add()
	const tries = 5
	for end := time.Now().Add(20 * time.Second); len(missing.times()) < tries; time.Sleep(pause / 5) {
		if time.Now().After(end) {
			t.Fatalf("%d attempts: %s", len(missing.times()), log)
		}
	}
	at := missing.times()
	for i := 1; i < tries; i++ {
		if got, want := at[i].Sub(at[i-1]), pause<<(i-1); got < want {
			t.Errorf("attempt %d comes %v after the one before, want %v at least", i+1, got, want)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want 1:\n%s", n, log)
	}
	if p := problem(); !strings.Contains(p, "file does not exist") || !strings.Contains(p, fmt.Sprint("flavor ", doc.Recording.Segments[0].Params)) {
		t.Errorf("the problem is %q", p)
	}
	r.files.put(missing.key, kept)
	r.vod(2)
	if n := strings.Count(log.String(), "up to date after all"); n != 1 {
		t.Errorf("it works again, and the log says so %d times:\n%s", n, log)
	}
	if p := problem(); p != "" {
		t.Errorf("it works again, and the problem is %q", p)
	}
}

func TestSetbacks(t *testing.T) {
	log := &said{}
	s := setbacks{log: slog.New(slog.NewTextHandler(log, nil)), pause: 30 * time.Second, of: map[task]setback{}}
	join, now := task{"0_demolive", group{"0_recorded", 32}}, time.Unix(1_800_000_000, 0)
	pause := func(err error) time.Duration {
		s.tried(t.Context(), join, err, now)
		for d := time.Duration(0); ; d += time.Second {
			if !s.waits(join, now.Add(d)) {
				return d
			}
		}
	}
	damaged := errors.New("damaged")
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if got := pause(damaged); got != want {
			t.Errorf("pause %d is %v, want %v", i+1, got, want)
		}
	}
	if d := pause(fmt.Errorf("%w: no leader", bus.ErrUnavailable)); d != 0 {
		t.Errorf("when the bus is away, the pause is %v", d)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.tried(ended, join, nil, now)
	if s.problem("0_recorded") == "" || s.problem("0_another") != "" {
		t.Errorf("problems %q and %q", s.problem("0_recorded"), s.problem("0_another"))
	}
	s.tried(t.Context(), join, errRemoved, now)
	if p := s.problem("0_recorded"); p != "" {
		t.Errorf("a recorded entry that was removed has the problem %q", p)
	}
	if d := pause(damaged); d != 30*time.Second {
		t.Errorf("after that, the first pause is %v", d)
	}
	s.keep(map[task]bool{{}: true})
	if p := s.problem("0_recorded"); p != "" {
		t.Errorf("what there is no more has the problem %q", p)
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 2 || strings.Contains(text, "after all") {
		t.Errorf("the log says\n%s", text)
	}
}
