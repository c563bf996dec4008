// Package workers runs live entries: a Pool watches the feeds of the whole deployment, and
// for each entry that is live it stands by for the entry's lease. Whoever has the lease owns
// the entry: it packages it and keeps Kaltura informed. Workers hear each other's beats; the
// entries of one that falls silent are taken by the others, one that ends hands its own over.
// The owner's epoch fences it: a worker that has lost its entry without noticing changes no
// timeline and no playlist.
package workers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
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

// Config is what [New] needs. All but Beats, Log, Registerer and the options is required.
type Config struct {
	// Name names this process to the others. Two running processes never share a name; one
	// that is the same after a restart gets its leases back at once.
	Name    string
	Control *bus.Control
	// Beats are this process's, under the same name; what they say includes [Pool.Share]. Nil
	// means that there is no other worker.
	Beats *bus.Beats
	// Answering is for how long the bus has answered this process without a failure; nil means
	// always. Beats are heard also while what feeds write has no leader on the bus.
	Answering func() time.Duration
	// Feeds is the bucket of feed records, Broadcasts that of broadcast records.
	Feeds, Broadcasts *bus.Bucket
	Media             bus.Media
	Store             storage.Store
	Timeline          timeline.Log
	// API is Kaltura's; calls of different entries run at the same time.
	API registrar.API
	// Chapters reads the items of a closed chapter; see [packager.Config].
	Chapters func(ctx context.Context, broadcast string, c timeline.Chapter) ([]timeline.Item, error)
	// Jobs and Ends reach the transcode workers; may be nil.
	Jobs packager.Jobs
	Ends packager.Ends
	// Keep returns the instant from which on media of an entry must stay because they are still
	// to be recorded; recorded says that the present broadcast is. Nil means that none must.
	Keep func(ctx context.Context, s *timeline.State, recorded bool) (at media.Time, ok bool, err error)
	// Used counts what a partner has used: media made by transcode workers, and bytes stored. May
	// be nil.
	Used     func(partner int, rung time.Duration, bytes int64)
	Packager packager.Options
	// MaxDVR is the longest DVR window, and that of entries that name none. Default 2 h.
	MaxDVR     time.Duration
	Registrar  registrar.Options
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// LeaseTTL is how long a dead owner's lease stands, in whole seconds. Default 15 s.
	LeaseTTL time.Duration
	// LeaseRetry is how long an owner waits after a failure, and how often one that stands by
	// asks whether the entry is still live. Default 2 s.
	LeaseRetry time.Duration
	// StealAfter is the silence of a worker after which its entries are taken. Default 2 s.
	StealAfter time.Duration
	// MoveEvery is the least time between two entries that this worker gives away to spread the
	// load. Default 10 s.
	MoveEvery time.Duration
	// ShutdownTimeout bounds what is finished or handed over when Run's context ends. Default 20 s.
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
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.MaxDVR, 2*time.Hour)
	def(&c.LeaseTTL, 15*time.Second)
	def(&c.LeaseRetry, 2*time.Second)
	def(&c.StealAfter, 2*time.Second)
	def(&c.MoveEvery, 10*time.Second)
	def(&c.ShutdownTimeout, 20*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Pool runs the owners of this process.
type Pool struct {
	Config
	bucket, epochs *bus.Bucket // of leases, of epochs
	registrations  *bus.Bucket // of registration records
	pins           *bus.Bucket // of operators' choices
	leases         *leaseView
	packaging      *packager.Metrics
	registering    *registrar.Metrics
	metrics        *metrics

	wg sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	records map[live.FeedID]live.FeedRecord
	owners  map[string]*owner
	pinned  map[string]live.Index // operators' choices, by entry
	unread  map[string]bool       // names of peers whose beats could not be read
	closing bool
}

// New opens the buckets and returns a pool that is ready to run.
func New(ctx context.Context, c Config) (*Pool, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// The buckets come first: who calls again when the bus is there may register metrics once.
	leases, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: OwnersBucket})
	if err != nil {
		return nil, err
	}
	epochs, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: ownerEpochsBucket, Lasting: true})
	if err != nil {
		return nil, err
	}
	registrations, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: live.RegistrationsBucket})
	if err != nil {
		return nil, err
	}
	pins, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: live.PinsBucket})
	if err != nil {
		return nil, err
	}
	return &Pool{
		Config:        c,
		bucket:        leases,
		epochs:        epochs,
		registrations: registrations,
		pins:          pins,
		pinned:        map[string]live.Index{},
		leases:        newLeaseView(),
		packaging:     packager.NewMetrics(c.Registerer),
		registering:   registrar.NewMetrics(c.Registerer),
		metrics:       newMetrics(c.Registerer),
		records:       map[live.FeedID]live.FeedRecord{},
		owners:        map[string]*owner{},
		unread:        map[string]bool{},
	}, nil
}

// Run owns entries until the context ends. Then it takes no more of them and hands those it
// has to other workers, each at the end of an item. Where there is no other worker it stores what is
// complete, unregisters what is registered and gives its leases back. It returns within the
// shutdown timeout. Broadcasts are left open: they go on at their next owner, or when their
// feeds come back in time.
func (p *Pool) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	p.tell()
	err := p.watch(ctx, hard)
	deadline := time.AfterFunc(p.ShutdownTimeout, cancel)
	defer deadline.Stop()
	p.drain()
	p.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// drain asks every owner to end.
func (p *Pool) drain() {
	p.mu.Lock()
	p.closing = true
	var owned, others []*owner
	for _, o := range p.owners {
		if busy, _ := o.busy(); busy {
			owned = append(owned, o)
		} else {
			others = append(others, o)
		}
	}
	p.mu.Unlock()
	p.tell()
	heirs := successors(owned, p.peers(time.Now()))
	leave := len(heirs) > 0 || !p.alone()
	if len(owned) > 0 {
		p.Log.Info("ending: giving the live entries up", "entries", len(owned), "handed to other workers", len(heirs), "unregistering", !leave)
	}
	if len(owned) > 0 && p.Beats != nil && !leave {
		p.Log.Warn("no other worker is there to take the live entries: viewers of those that are on the air get nothing until one is", "entries", len(owned))
	}
	for _, o := range append(owned, others...) {
		o.retire(leave, heirs[o])
	}
}

// alone reports whether this process would know of other workers if there were any. Where it
// would not, entries are left registered for whoever goes on with them.
func (p *Pool) alone() bool {
	return p.Beats == nil || p.Beats.Hearing() >= p.StealAfter
}

// tell lets the others know at once what has changed here.
func (p *Pool) tell() {
	if p.Beats != nil {
		p.Beats.Send()
	}
}

// unasked is how long after its last renewal an owner may write without asking: while no
// other could have found it silent.
func (p *Pool) unasked() time.Duration {
	if p.Beats == nil {
		return p.LeaseTTL / 2
	}
	return p.StealAfter
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
	if index, ok := p.pinned[entry]; ok {
		o.pin(&index)
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
	p.leases.drop(o.entry)
	return true
}
