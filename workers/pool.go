// Package workers runs live entries: a Pool watches the feeds of the whole deployment, and
// for each entry that is live and that nobody owns it takes the entry's lease and runs an
// Owner. The Owner's epoch fences it: a worker that has lost its entry without noticing
// changes no timeline and no playlist.
package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/timeline"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// OwnersBucket is the control-plane bucket of the leases on entries, keyed by entry.
const OwnersBucket = "owners"

// ownerEpochsBucket is the control-plane bucket of counters, keyed by entry: the last
// owner's epoch given out.
const ownerEpochsBucket = "owner-epochs"

// Config is what [New] needs. All but Log, Registerer and the options is required.
type Config struct {
	// Name names this process to the others. Two running processes never share a name; one
	// that is the same after a restart gets its leases back at once.
	Name    string
	Control *bus.Control
	// Feeds is the bucket of feed records, Broadcasts that of broadcast records.
	Feeds, Broadcasts *bus.Bucket
	Media             bus.Media
	Store             storage.Store
	Timeline          timeline.Log
	// API is Kaltura's; calls of different entries run at the same time.
	API registrar.API
	// Chapters reads the items of a closed chapter; see [packager.Config].
	Chapters   func(ctx context.Context, broadcast string, c timeline.Chapter) ([]timeline.Item, error)
	Packager   packager.Options
	Registrar  registrar.Options
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// LeaseTTL is how long a dead owner's lease stands, in whole seconds. Default 15 s.
	LeaseTTL time.Duration
	// LeaseRetry is how often a lease that another holds is asked for. Default 2 s.
	LeaseRetry time.Duration
	// ShutdownTimeout bounds what is finished when Run's context ends. Default 10 s.
	ShutdownTimeout time.Duration
}

func (c *Config) check() error {
	for name, missing := range map[string]bool{
		"Name": c.Name == "", "Control": c.Control == nil, "Feeds": c.Feeds == nil, "Broadcasts": c.Broadcasts == nil,
		"Media": c.Media == nil, "Store": c.Store == nil, "Timeline": c.Timeline == nil, "API": c.API == nil, "Chapters": c.Chapters == nil,
	} {
		if missing {
			return fmt.Errorf("workers: Config.%s is missing", name)
		}
	}
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = 15 * time.Second
	}
	if c.LeaseRetry <= 0 {
		c.LeaseRetry = 2 * time.Second
	}
	if c.ShutdownTimeout <= 0 {
		c.ShutdownTimeout = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Pool runs the owners of this process.
type Pool struct {
	Config
	leases, epochs *bus.Bucket
	packaging      *packager.Metrics
	registering    *registrar.Metrics
	owned          prometheus.Gauge

	wg sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	records map[live.FeedID]live.FeedRecord
	owners  map[string]*owner
	closing bool
}

// New opens the buckets and returns a pool that is ready to run.
func New(ctx context.Context, c Config) (*Pool, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &Pool{
		Config:      c,
		packaging:   packager.NewMetrics(c.Registerer),
		registering: registrar.NewMetrics(c.Registerer),
		owned:       prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Name: "owned_entries", Help: "Live entries that this process owns."}),
		records:     map[live.FeedID]live.FeedRecord{},
		owners:      map[string]*owner{},
	}
	if c.Registerer != nil {
		c.Registerer.MustRegister(p.owned)
	}
	var err error
	if p.leases, err = c.Control.Bucket(ctx, bus.BucketConfig{Name: OwnersBucket}); err != nil {
		return nil, err
	}
	if p.epochs, err = c.Control.Bucket(ctx, bus.BucketConfig{Name: ownerEpochsBucket}); err != nil {
		return nil, err
	}
	return p, nil
}

// Run owns entries until the context ends. Then it stores what is complete, unregisters
// what is registered, gives its leases back, and returns within the shutdown timeout.
// Broadcasts are left open: they go on when their feeds come back in time.
func (p *Pool) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if err := p.adoptOpen(ctx, hard); err != nil {
		return err
	}
	err := p.watch(ctx, hard)
	p.mu.Lock()
	p.closing = true
	for _, o := range p.owners {
		o.stop()
	}
	p.mu.Unlock()
	deadline := time.AfterFunc(p.ShutdownTimeout, cancel)
	defer deadline.Stop()
	p.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// adoptOpen takes care of broadcasts that a dead process left open: they go on when their
// feeds come back, or are ended.
func (p *Pool) adoptOpen(ctx, hard context.Context) error {
	list, err := p.Broadcasts.List(ctx, "")
	if err != nil {
		return fmt.Errorf("workers: list the open broadcasts: %w", err)
	}
	for _, kv := range list {
		b, err := live.UnmarshalBroadcastRecord(kv.Value)
		if err != nil {
			p.Log.Warn("a broadcast record can't be read", "entry", kv.Key, "error", err)
			continue
		}
		if !b.Ended {
			p.mu.Lock()
			p.start(hard, kv.Key)
			p.mu.Unlock()
		}
	}
	return nil
}

// watch follows the feed records, over and over while the bus can't be reached.
func (p *Pool) watch(ctx, hard context.Context) error {
	for {
		err := p.watchOnce(ctx, hard)
		if ctx.Err() != nil || errors.Is(err, bus.ErrClosed) {
			return err
		}
		p.Log.Error("watching the feeds failed, trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (p *Pool) watchOnce(ctx, hard context.Context) error {
	w, err := p.Feeds.Watch(ctx, "")
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		change, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if change.InitialDone || change.Deleted {
			continue
		}
		r, err := live.UnmarshalFeedRecord(change.Value)
		if err != nil {
			p.Log.Warn("a feed record can't be read", "feed", change.Key, "error", err)
			continue
		}
		p.feed(hard, r)
	}
}

// feed hands a record to the entry's owner, which it makes when the feed is alive.
func (p *Pool) feed(hard context.Context, r live.FeedRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if old, ok := p.records[r.Feed.FeedID]; ok && old.Feed.Epoch > r.Feed.Epoch {
		return
	}
	o := p.owners[r.Feed.Entry]
	if o == nil && !r.Alive(now) {
		delete(p.records, r.Feed.FeedID)
		return
	}
	p.records[r.Feed.FeedID] = r
	if o == nil {
		p.start(hard, r.Feed.Entry)
		return
	}
	o.feed(r)
}

// start runs an owner for the entry, with p.mu held.
func (p *Pool) start(hard context.Context, entry string) {
	if p.closing || p.owners[entry] != nil {
		return
	}
	o := newOwner(p, entry)
	p.owners[entry] = o
	for _, r := range p.records {
		if r.Feed.Entry == entry {
			o.feed(r)
		}
	}
	p.wg.Go(func() {
		for o.run(hard); !p.forget(o); o.run(hard) {
		}
	})
}

// forget removes an owner that has nothing more to do. It reports false when a feed of its
// entry has come alive meanwhile.
func (p *Pool) forget(o *owner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for id, r := range p.records {
		if id.Entry != o.entry {
			continue
		}
		if !p.closing && r.Alive(now) {
			return false
		}
		delete(p.records, id)
	}
	delete(p.owners, o.entry)
	return true
}
