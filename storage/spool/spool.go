// Package spool stands in front of a store that may be away. Finished media that the store
// does not take in time rest in files on local disk and are stored in order afterwards;
// every other write fails at once while the store is away, so that nothing waits for it.
//
// # When the store counts as away
//
// A write that fails, and one that lasts longer than the spool's patience, says that the
// store is away; the next write that succeeds says that it is back. While it is away one
// spooled object at a time, the oldest, is tried, with a growing pause between tries.
//
// A store that is slow but works must not count as away each time: then heads and playlists
// would hardly ever be written. So patience follows the store. It is three times
// Config.After to begin with, becomes twice what a successful write has lasted when that is
// more, at most ten times Config.After, and comes down slowly as writes get faster. A body
// adds a second for each 4 MiB, so that a large one on a narrow line is slow, not lost. Media
// go to local disk after Config.After in any case, because viewers wait for them; the
// attempt goes on beside it, and its success settles the object.
package spool

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
)

// Config is what [Open] needs. Store, Dir and MaxBytes are required.
type Config struct {
	Store storage.Store
	// Dir is the folder, made when it is not there. Two processes never share one.
	Dir string
	// MaxBytes and MaxAge (default 30 min) are the budget. What is over it is given up, oldest first.
	MaxBytes int64
	MaxAge   time.Duration
	// Reserve is what is left free on the folder's disk, in bytes; 0 is nothing.
	Reserve int64
	// After is how long a write of media may take before the object goes to local disk. Default 1 s.
	After      time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// ErrAway is returned for writes while the store is away. It wraps the store's own error.
var ErrAway = errors.New("spool: the store is away")

// ErrGivenUp says that an object left the spool without having been stored.
var ErrGivenUp = errors.New("spool: the object was given up")

// ErrInUse is returned by Open when another process holds the folder.
var ErrInUse = errors.New("spool: the folder is in use")

// ErrClosed is returned for media after Close.
var ErrClosed = errors.New("spool: closed")

// How far patience goes, in multiples of Config.After.
const (
	leastPatience = 3
	mostPatience  = 10
)

// slowestRate is the rate in bytes/s to which patience is stretched for a write's body: that
// of the bucket's own attempts.
const slowestRate = 4 << 20

// Spool is a [storage.Store] with a spool for media. It is safe for concurrent use.
type Spool struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	unlock  func()

	ctx     context.Context // of attempts that nobody waits for
	stop    context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // 1: the loop has something to look at

	// mu guards the fields below.
	mu     sync.Mutex
	health health
	shelf  shelf
	calls  []call // callbacks that are due
	closed bool
	left   bool // what is left has been told
	// draining and drainBytes count the loop's attempts; behind counts the bytes of attempts
	// that go on although their object is on disk.
	draining           int
	drainBytes, behind int64
	writes             map[*write]struct{} // other writes that are on their way
}

// call is a callback that is due.
type call struct {
	settled func(error)
	err     error
}

// Open returns a spool on the folder. Objects that a process before this one left there are
// stored first of all.
func Open(cfg Config) (*Spool, error) {
	if cfg.Store == nil || cfg.Dir == "" || cfg.MaxBytes <= 0 {
		return nil, errors.New("spool: Store, Dir and MaxBytes are required")
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = 30 * time.Minute
	}
	if cfg.After <= 0 {
		cfg.After = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("spool: can't make the folder: %w; choose one that can be written (key spool.dir)", err)
	}
	unlock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		cfg: cfg, log: cfg.Logger, unlock: unlock, wake: make(chan struct{}, 1),
		health: health{patience: leastPatience * cfg.After},
		shelf:  shelf{order: list.New(), byKey: map[string]*item{}},
		writes: map[*write]struct{}{},
	}
	if err := s.scan(); err != nil {
		unlock()
		return nil, err
	}
	s.metrics = newMetrics(cfg.Registerer, s.Stats)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.running.Go(s.run)
	return s, nil
}

// Drain waits until nothing is spooled, for as long as the store answers and until ctx ends.
func (s *Spool) Drain(ctx context.Context) {
	check := time.NewTicker(drainCheck)
	defer check.Stop()
	for s.emptying() {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
		}
	}
}

// emptying reports whether the spool holds something that it can store.
func (s *Spool) emptying() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.shelf.byKey) > 0 && !s.health.away
}

// Close ends what is under way and gives the folder back. What is spooled stays there for
// the next process, and the log says so; its callbacks are not called.
func (s *Spool) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	s.leave()
	s.unlock()
}

// leave says once what is left.
func (s *Spool) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left || len(s.shelf.byKey) == 0 {
		return
	}
	s.left = true
	s.log.Error("spool: finished media wait on this host and exist nowhere else: keep the folder, and start a worker with it (keys data, spool.dir) within spool.age, once the store answers",
		"folder", s.cfg.Dir, "objects", len(s.shelf.byKey), "bytes", s.shelf.bytes,
		"oldest", time.Since(s.shelf.oldest().at).Round(time.Second), "spool.age", s.cfg.MaxAge)
}

// Stats says what is spooled.
type Stats struct {
	Objects int
	Bytes   int64
	// Oldest is the age of the oldest object, 0 when there is none.
	Oldest time.Duration
	// AwaySince is when the store was last found to be away, zero while it answers.
	AwaySince time.Time
	// Reason is what it said last while it is away.
	Reason string
}

// Stats returns what is spooled now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Objects: len(s.shelf.byKey), Bytes: s.shelf.bytes}
	if it := s.shelf.oldest(); it != nil {
		out.Oldest = time.Since(it.at)
	}
	if s.health.away {
		out.AwaySince, out.Reason = s.health.since, s.health.cause.Error()
	}
	return out
}

// nudge wakes the loop.
func (s *Spool) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// final reports whether an answer of the store stands: it has the object, or it will never
// take it. Anything else says that it is away.
func final(err error) bool {
	return err == nil || errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrKey)
}
