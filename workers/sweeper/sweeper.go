// Package sweeper removes what no timeline names: media and chapters that were left behind
// by owners that died, by writes whose answer was lost, or by segments that were given up
// and stored all the same. It also ends the life of broadcasts that are over, because their
// owner is gone by then.
//
// An object goes only when all of this is true: its key is one of ours, the store says that
// it was written longer than Config.After ago (by the store's own clock), and neither the
// entry's head in the store nor its log on the bus leads to it. Of an entry whose timeline
// can't be read nothing goes. Owners write an object after they have adopted it, so a
// timeline that is read now names every object that is old and may ever be named.
package sweeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// Floor protects media that no timeline names and that somebody still needs.
type Floor interface {
	// Floor returns the instant up to which nothing of the entry is needed any more: media that
	// begin after it stay. ok is false when nobody needs anything. After an error all stay.
	Floor(ctx context.Context, entry string) (at media.Time, ok bool, err error)
}

// Config is what [New] needs. All but Every, After, Keep, Window, Floor, Logger and Registerer is required.
type Config struct {
	// Name names this process to the others.
	Name    string
	Control *bus.Control
	// Owners is the bucket of the leases on entries.
	Owners *bus.Bucket
	Store  storage.Store
	Log    timeline.Log
	// Every is how often the store is swept, default 10 min; After how old what goes must be,
	// default 1 h.
	Every, After time.Duration
	// Keep is how long a broadcast that is over stays when its DVR window is shorter. Default 1 h.
	Keep time.Duration
	// Window is how many segments live playlists hold. Default 5.
	Window int
	// Floor may be nil.
	Floor      Floor
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// LeasesBucket is the control-plane bucket of the sweepers' lease.
const LeasesBucket = "sweeper"

const (
	leaseKey = "sweeper"
	leaseTTL = 15 * time.Second
	// firstAfter is how long after its start a process sweeps, retry how often it asks whether
	// another still does.
	firstAfter = time.Minute
	retry      = 30 * time.Second
	// clockKey is an object whose age tells the store's time.
	clockKey = "state/sweeper/clock"
)

// Sweeper sweeps a store. One process of a deployment does it at a time.
type Sweeper struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	leases  *bus.Bucket // Run's own; nil until the bus has answered
	// take gives the right to write an entry's timeline; errBusy when somebody owns the entry.
	take func(ctx context.Context, entry string) (right, error)
	// heads remembers which heads need not be read before when. A sweep uses it alone.
	heads map[string]headNote
}

// right is the right to write an entry's timeline, until the context ends or release is
// called. confirm proves that it still stands, for writes that no epoch fences.
type right struct {
	held    context.Context
	confirm func(ctx context.Context) error
	release func()
}

// errBusy says that somebody owns an entry.
var errBusy = errors.New("sweeper: the entry has an owner")

// New returns a sweeper that is ready to run. It asks nothing of the bus yet.
func New(cfg Config) (*Sweeper, error) {
	if cfg.Name == "" || cfg.Control == nil || cfg.Owners == nil || cfg.Store == nil || cfg.Log == nil {
		return nil, errors.New("sweeper: Name, Control, Owners, Store and Log are required")
	}
	s := newSweeper(cfg)
	s.take = s.takeEntry
	return s, nil
}

func newSweeper(cfg Config) *Sweeper {
	if cfg.Every <= 0 {
		cfg.Every = 10 * time.Minute
	}
	if cfg.After <= 0 {
		cfg.After = time.Hour
	}
	if cfg.Keep <= 0 {
		cfg.Keep = time.Hour
	}
	if cfg.Window <= 0 {
		cfg.Window = playlist.DefaultWindow
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), heads: map[string]headNote{}}
}

// Run sweeps until the context ends, while no other process does.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		lease, err := s.acquire(ctx)
		var held *bus.HeldError
		switch {
		case err == nil:
			s.hold(ctx, lease)
		case !errors.As(err, &held) && ctx.Err() == nil:
			s.log.Warn("sweeper: the lease could not be asked for, trying again", "err", err)
		}
		if !sleep(ctx, retry) {
			return ctx.Err()
		}
	}
}

// acquire takes the sweeper's lease.
func (s *Sweeper) acquire(ctx context.Context) (*bus.Lease, error) {
	if s.leases == nil {
		b, err := s.cfg.Control.Bucket(ctx, bus.BucketConfig{Name: LeasesBucket})
		if err != nil {
			return nil, err
		}
		s.leases = b
	}
	return bus.TakeLease(ctx, s.leases, leaseKey, s.cfg.Name, leaseTTL)
}

// hold sweeps again and again while the lease lasts.
func (s *Sweeper) hold(ctx context.Context, lease *bus.Lease) {
	own, done := whileHeld(ctx, lease)
	defer done()
	wait := min(s.cfg.Every, firstAfter)
	for sleep(own, wait) {
		began := time.Now()
		report, err := s.sweep(own)
		if own.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("sweeper: not everything could be looked at, trying again later", "err", err)
		} else {
			s.metrics.last.SetToCurrentTime()
		}
		report.log(s.log, time.Since(began))
		wait = s.cfg.Every
	}
}

// whileHeld returns a context that ends with a lease. done gives the lease back.
func whileHeld(ctx context.Context, lease *bus.Lease) (held context.Context, done func()) {
	held, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lease.Lost():
			cancel()
		case <-held.Done():
		}
	}()
	return held, func() {
		cancel()
		<-watched
		release, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		_ = lease.Release(release) // else it runs out by itself
	}
}

// takeEntry takes an entry's lease under a name that is not the process's own, which owns
// entries as well. Who steals it fences what is written under it.
func (s *Sweeper) takeEntry(ctx context.Context, entry string) (right, error) {
	lease, err := bus.AcquireLease(ctx, s.cfg.Owners, entry, s.holder(), leaseTTL)
	var other *bus.HeldError
	if errors.As(err, &other) {
		return right{}, fmt.Errorf("%w: %s", errBusy, other.Holder)
	}
	if err != nil {
		return right{}, err
	}
	held, done := whileHeld(ctx, lease)
	return right{held: held, confirm: lease.Renew, release: done}, nil
}

func (s *Sweeper) holder() string { return s.cfg.Name + "/sweeper" }

// sleep reports whether d has passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sweep looks at the whole store once.
func (s *Sweeper) sweep(ctx context.Context) (*report, error) {
	r := &report{unreadable: map[string]bool{}}
	now, err := s.now(ctx)
	if err != nil {
		return r, err
	}
	p := &pass{Sweeper: s, now: now, report: r}
	err = errors.Join(p.states(ctx), p.media(ctx))
	s.metrics.foreign.Set(float64(r.foreign))
	s.metrics.unreadable.Set(float64(len(r.unreadable)))
	return r, err
}

// now is the store's own time, taken from an object that was written just now: ages by this
// host's clock would be wrong by as much as that clock is.
func (s *Sweeper) now(ctx context.Context) (time.Time, error) {
	if _, err := s.cfg.Store.Put(ctx, clockKey, [][]byte{[]byte(s.cfg.Name)}, storage.PutOptions{ContentType: "text/plain"}); err != nil {
		return time.Time{}, fmt.Errorf("sweeper: the store's time: %w", err)
	}
	body, info, err := s.cfg.Store.Get(ctx, clockKey, nil)
	if err != nil {
		return time.Time{}, fmt.Errorf("sweeper: the store's time: %w", err)
	}
	body.Close()
	if info.Modified.IsZero() {
		return time.Time{}, errors.New("sweeper: the store does not say when objects were written; nothing can be swept")
	}
	return info.Modified, nil
}

// report is what a sweep found.
type report struct {
	objects, removed, foreign, expired int
	unreadable                         map[string]bool // entries
}

func (r *report) log(log *slog.Logger, took time.Duration) {
	if r.removed+r.expired > 0 {
		log.Info("sweeper: removed what no timeline names", "objects", r.objects, "removed", r.removed, "expiredBroadcasts", r.expired, "took", took)
	}
	if len(r.unreadable) > 0 {
		names := slices.Sorted(maps.Keys(r.unreadable))
		log.Warn("sweeper: timelines that can't be read keep all their media", "count", len(names), "entries", names[:min(len(names), 10)])
	}
}
