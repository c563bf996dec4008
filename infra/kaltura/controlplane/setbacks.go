package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"klive/infra/bus"
)

// longestPause bounds the pauses between attempts of one join: each reads all files of a flavor
// anew, and what can't be read today may be there tomorrow.
const longestPause = time.Hour

// errRemoved says that there is no recorded entry to bring up to date any more.
var errRemoved = errors.New("control plane: the recorded entry was removed")

// task is what the joiner does for a live entry: it brings a flavor of a recorded entry up to date,
// or, without a group, forgets files that are joined. The zero task is the list of them all.
type task struct {
	entry string
	group
}

// words are what the log says of a task that fails, and of one that succeeds after that.
func (t task) words() (failed, mended string, attrs []any) {
	switch {
	case t.vod != "":
		return "a recorded entry could not be brought up to date; trying again, with growing pauses", "the recorded entry is up to date after all",
			[]any{"entry", t.entry, "vod", t.vod, "flavor", t.params}
	case t.entry != "":
		return "files that are joined could not be removed; trying again", "files that are joined could be removed after all", []any{"entry", t.entry}
	}
	return "recorded entries could not be looked up; trying again", "recorded entries could be looked up after all", nil
}

// setback is a task that failed the last time.
type setback struct {
	tries int
	since time.Time
	next  time.Time // no attempt before
	err   error
}

// setbacks are the tasks that failed the last time. The log has each once, when it begins and when
// it is over.
type setbacks struct {
	log   *slog.Logger
	pause time.Duration // before the first attempt that is another one; then twice as long each time

	mu sync.Mutex // guards the field below
	of map[task]setback
}

// waits says whether a task failed and is not tried again yet.
func (s *setbacks) waits(t task, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.of[t].next)
}

// tried notes how an attempt went.
func (s *setbacks) tried(ctx context.Context, t task, err error, now time.Time) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, before := s.of[t]
	failed, mended, attrs := t.words()
	if err == nil || errors.Is(err, errRemoved) {
		delete(s.of, t)
		if before && err == nil {
			s.log.Info(mended, append(attrs, "attempts", b.tries+1, "after", now.Sub(b.since))...)
		}
		return
	}
	level := slog.LevelDebug
	if !before {
		level, b.since = slog.LevelError, now
	}
	s.log.Log(ctx, level, failed, append(attrs, "attempts", b.tries+1, "err", err)...)
	b.err, b.next = err, now
	b.tries++
	if t.vod != "" && !errors.Is(err, bus.ErrUnavailable) {
		b.next = now.Add(min(s.pause<<min(b.tries-1, 20), longestPause))
	}
	s.of[t] = b
}

// keep forgets the tasks that there are no more.
func (s *setbacks) keep(there map[task]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(t task, _ setback) bool { return !there[t] })
}

// problem says in words what keeps a recorded entry from being up to date; empty when nothing does.
func (s *setbacks) problem(vod string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, b := task{}, setback{}
	for t, other := range s.of { // of several flavors, the one that has waited longest
		if t.vod == vod && (first.vod == "" || other.since.Before(b.since)) {
			first, b = t, other
		}
	}
	if first.vod == "" {
		return ""
	}
	return fmt.Sprintf("flavor %d has not been up to date since %s: %v; attempts: %d, the next one at %s",
		first.params, b.since.UTC().Format(time.RFC3339), b.err, b.tries, b.next.UTC().Format(time.RFC3339))
}
