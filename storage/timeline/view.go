package timeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
)

// ViewConfig is what a view needs. Store and Log are required.
type ViewConfig struct {
	Store storage.Store
	Log   Log
	// MaxEntries bounds the entries that are followed at once. Default 4096.
	MaxEntries int
	// Idle is how long an entry is followed that nobody asks for. Default one minute.
	Idle time.Duration
	// ChapterItems bounds the items of closed chapters kept in memory. Default 500 000.
	ChapterItems int
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
}

// View holds the timelines that somebody reads, each as new as the log. It begins to
// follow an entry when it is first asked for. It is safe for concurrent use.
type View struct {
	cfg      ViewConfig
	chapters *chapterCache
	metrics  viewMetrics
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	closed  bool
	entries map[string]*followed
	// absent remembers for a moment which entries have no timeline.
	absent map[string]time.Time
}

// Limits of a view.
const (
	absentFor  = time.Second
	maxAbsent  = 4096
	busyFor    = 5 * time.Second // an entry asked for within it isn't closed for another
	firstWait  = 3 * time.Second // how long a first reader waits for the log's end
	retryAfter = time.Second
	checkEvery = 5 * time.Second
	checkWait  = 500 * time.Millisecond
)

// ErrBusy is returned by a view that follows as many entries as it may, all of them in use:
// add origins, or raise the limit.
var ErrBusy = errors.New("timeline: too many entries are being watched here")

// ErrClosed is returned by a view that has been closed.
var ErrClosed = errors.New("timeline: view is closed")

// NewView returns a view. Close ends it.
func NewView(cfg ViewConfig) *View {
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = 4096
	}
	if cfg.Idle <= 0 {
		cfg.Idle = time.Minute
	}
	if cfg.ChapterItems <= 0 {
		cfg.ChapterItems = 500_000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &View{cfg: cfg, entries: map[string]*followed{}, absent: map[string]time.Time{}}
	v.chapters = newChapterCache(cfg.Store, cfg.ChapterItems)
	v.metrics = newViewMetrics(cfg.Registerer)
	v.ctx, v.stop = context.WithCancel(context.Background())
	return v
}

// Close stops following and waits until everything has stopped.
func (v *View) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.stop()
	v.running.Wait()
}

// State returns an entry's timeline. The first call for an entry waits until what the log
// holds has been read. The error wraps ErrNoTimeline when nothing is known of the entry.
func (v *View) State(ctx context.Context, entry string) (*State, error) {
	f, err := v.entry(entry)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s := f.state.Load(); s != nil {
		return s, nil
	}
	if f.err != nil {
		return nil, f.err
	}
	return nil, ErrClosed
}

// Items returns the items of a closed chapter, which must not be changed.
func (v *View) Items(ctx context.Context, broadcast string, c Chapter) ([]Item, error) {
	return v.chapters.load(ctx, broadcast, c)
}

// entry returns what follows the entry, and begins to follow it if need be.
func (v *View) entry(entry string) (*followed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.closed {
		return nil, ErrClosed
	}
	if f := v.entries[entry]; f != nil {
		f.used = now
		return f, nil
	}
	if t, ok := v.absent[entry]; ok && now.Sub(t) < absentFor {
		return nil, fmt.Errorf("entry %s: %w", entry, ErrNoTimeline)
	}
	if len(v.entries) >= v.cfg.MaxEntries && !v.evict(now) {
		return nil, ErrBusy
	}
	ctx, cancel := context.WithCancel(v.ctx)
	f := &followed{view: v, entry: entry, used: now, cancel: cancel, ready: make(chan struct{})}
	v.entries[entry] = f
	v.metrics.entries.Set(float64(len(v.entries)))
	v.running.Go(func() { f.run(ctx) })
	return f, nil
}

// evict stops following the entry that was asked for the longest ago. v.mu is held.
func (v *View) evict(now time.Time) bool {
	var oldest *followed
	for _, f := range v.entries {
		if oldest == nil || f.used.Before(oldest.used) {
			oldest = f
		}
	}
	if oldest == nil || now.Sub(oldest.used) < busyFor {
		return false
	}
	oldest.cancel()
	delete(v.entries, oldest.entry)
	return true
}

// idle reports whether nobody has asked for the entry for a while.
func (v *View) idle(f *followed) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(f.used) >= v.cfg.Idle
}

// leave takes f out of the view, unless it is still wanted.
func (v *View) leave(f *followed, onlyIdle bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if onlyIdle && time.Since(f.used) < v.cfg.Idle {
		return false
	}
	if v.entries[f.entry] == f {
		delete(v.entries, f.entry)
		v.metrics.entries.Set(float64(len(v.entries)))
	}
	return true
}

// markAbsent remembers that an entry has no timeline.
func (v *View) markAbsent(entry string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.absent) >= maxAbsent {
		clear(v.absent)
	}
	v.absent[entry] = time.Now()
}

// viewMetrics are a view's gauges and counters.
type viewMetrics struct {
	entries prometheus.Gauge
	reloads prometheus.Counter
}

func newViewMetrics(r prometheus.Registerer) viewMetrics {
	m := viewMetrics{
		entries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "klive_timeline_view_entries", Help: "Entries whose timeline is being followed.",
		}),
		reloads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "klive_timeline_view_reloads_total", Help: "Heads loaded again because the log had a hole or did not answer.",
		}),
	}
	if r != nil {
		r.MustRegister(m.entries, m.reloads)
	}
	return m
}
