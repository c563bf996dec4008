package recorder

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/ledger"
)

// LeasesBucket is the control-plane bucket of the recorders' leases, keyed by entry.
const LeasesBucket = "recorders"

const (
	leaseTTL = 15 * time.Second
	// unasked is how old the last renewal of a lease may be when something is done under it.
	unasked  = leaseTTL / 2
	lookEach = 500 * time.Millisecond
)

// PoolConfig is what [NewPool] needs. All but Rungs, Media, Sign, Log and Registerer is required.
type PoolConfig struct {
	// Name names this process to the others. One that is the same after a restart gets its
	// leases back at once.
	Name       string
	Control    *bus.Control
	Store      storage.Store
	Recordings Recordings
	Timelines  Timelines
	API        API
	Rungs      *Rungs
	Media      bus.Media
	Sign       func(ctx context.Context, key string) (string, error)
	// Owned returns the feeds of the entries that this process owns, Feeds those of any entry.
	Owned      func() map[string][]live.FeedRecord
	Feeds      func(entry string) []live.FeedRecord
	Options    Options
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Scan is how often ledgers are looked through for what nobody finishes, default 1 min.
	Scan time.Duration
	// Writing is how many MP4s the process writes at once, default 2.
	Writing int
}

// Pool runs the recorders of this process: for each entry that it owns and that is to be
// recorded, for what operators ask, and for what others have left unfinished.
type Pool struct {
	PoolConfig
	leases, orders *bus.Bucket
	metrics        *Metrics
	writing        chan struct{}

	// idle and orphaned are the scan's own: ledgers that need nobody, and entries that had no
	// recorder at the last scan.
	idle     map[string]idle
	orphaned map[string]bool

	// mu guards the fields below.
	mu      sync.Mutex
	running map[string]bool
	waiting map[string][]waiting // orders by entry
	rest    map[string]time.Time // entries not to be tried before
	debts   map[string]debt
}

// debt is a broadcast that is to be recorded and that no recorder has begun yet.
type debt struct {
	grant *live.Grant
	seen  time.Time // when it was on the air last
}

// NewPool opens the buckets and returns a pool that is ready to run.
func NewPool(ctx context.Context, c PoolConfig) (*Pool, error) {
	if c.Name == "" || c.Control == nil || c.Store == nil || c.Recordings == nil || c.Timelines == nil || c.API == nil || c.Owned == nil || c.Feeds == nil {
		return nil, errors.New("recorder: Name, Control, Store, Recordings, Timelines, API, Owned and Feeds are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Scan <= 0 {
		c.Scan = time.Minute
	}
	if c.Writing <= 0 {
		c.Writing = 2
	}
	c.Options = c.Options.withDefaults()
	leases, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: LeasesBucket})
	if err != nil {
		return nil, err
	}
	orders, err := c.Control.Bucket(ctx, bus.BucketConfig{Name: OrdersBucket})
	if err != nil {
		return nil, err
	}
	return &Pool{PoolConfig: c, leases: leases, orders: orders, metrics: NewMetrics(c.Registerer), writing: make(chan struct{}, c.Writing),
		running: map[string]bool{}, waiting: map[string][]waiting{}, idle: map[string]idle{}, orphaned: map[string]bool{}, rest: map[string]time.Time{}, debts: map[string]debt{}}, nil
}

// Run records until the context ends. What is under way then is left to who comes after.
func (p *Pool) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.listen(ctx) })
	wg.Go(func() { p.scanAll(ctx, &wg) })
	for ctx.Err() == nil {
		for entry, feeds := range p.Owned() {
			for i := range feeds {
				if feeds[i].Grant.Record != 0 && feeds[i].Alive(time.Now()) {
					p.owe(entry, &feeds[i].Grant)
					break
				}
			}
		}
		for _, entry := range p.owing() {
			p.start(ctx, &wg, entry)
		}
		for _, entry := range p.ordered() {
			p.start(ctx, &wg, entry)
		}
		p.sweep(time.Now())
		pause(ctx, lookEach)
	}
	return ctx.Err()
}

// sweep forgets what has rested.
func (p *Pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.rest, func(_ string, until time.Time) bool { return now.After(until) })
}

// scanAll looks through the ledgers again and again, beside Run: of many ledgers that takes
// longer than a broadcast may last.
func (p *Pool) scanAll(ctx context.Context, wg *sync.WaitGroup) {
	for ctx.Err() == nil {
		if err := p.scan(ctx, wg); err != nil && ctx.Err() == nil {
			p.Log.Warn("the ledgers of recordings could not be looked through, trying again", "error", err)
		}
		pause(ctx, p.Scan)
	}
}

// start runs the entry's recorder, unless it runs, or runs elsewhere.
func (p *Pool) start(ctx context.Context, wg *sync.WaitGroup, entry string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[entry] || time.Now().Before(p.rest[entry]) {
		return
	}
	p.running[entry] = true
	wg.Go(func() {
		err := p.record(ctx, entry)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, entry)
		delete(p.rest, entry)
		var held *bus.HeldError
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.As(err, &held):
			if time.Since(p.debts[entry].seen) > leaseTTL {
				delete(p.debts, entry) // its holder has renewed it since, so it lives and saw the feeds too
			}
			p.rest[entry] = time.Now().Add(time.Second)
			return
		case errors.Is(err, ledger.ErrDamaged) || errors.Is(err, ledger.ErrVersion):
			p.Log.Error("the recordings of an entry can't go on", "entry", entry, "error", err)
			p.rest[entry] = time.Now().Add(time.Minute)
			return
		}
		p.Log.Warn("the recorder of an entry ended, another goes on", "entry", entry, "error", err)
		p.rest[entry] = time.Now().Add(2 * time.Second)
	})
}

// owe remembers that a broadcast of the entry is to be recorded until a recorder has begun; nil
// forgets it.
func (p *Pool) owe(entry string, g *live.Grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, owed := p.debts[entry]
	switch {
	case g == nil:
		delete(p.debts, entry)
	case !p.running[entry] || owed:
		p.debts[entry] = debt{g, time.Now()}
	}
}

func (p *Pool) owed(entry string) *live.Grant {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.debts[entry].grant
}

func (p *Pool) owing() (entries []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for entry := range p.debts {
		entries = append(entries, entry)
	}
	return entries
}

// record takes the entry's lease and records until nothing is left to do.
func (p *Pool) record(ctx context.Context, entry string) error {
	lease, err := bus.TakeLease(ctx, p.leases, entry, p.Name, leaseTTL)
	if err != nil {
		return err
	}
	defer func() {
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer done()
		_ = lease.Release(ctx) // else it runs out by itself
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		select {
		case <-lease.Lost():
			cancel(errors.Join(bus.ErrLeaseLost, lease.Err()))
		case <-ctx.Done():
		}
	})
	r, err := New(ctx, Config{
		Entry: entry, Owner: p.Name, Store: p.Store, Recordings: p.Recordings, Timelines: p.Timelines, API: p.API, Rungs: p.Rungs, Media: p.Media, Sign: p.Sign,
		Guard:  func(ctx context.Context) error { return lease.Check(ctx, unasked) },
		Live:   func() []live.FeedRecord { return alive(p.Feeds(entry)) },
		Owed:   p.owed(entry),
		Orders: func() []Order { return p.ordersOf(entry) },
		Log:    p.Log, Writing: p.writing, Metrics: p.metrics, Options: p.Options,
	})
	if err != nil {
		cancel(nil)
		return err
	}
	p.owe(entry, nil) // the recorder sees to it from here on
	p.metrics.running.Inc()
	defer p.metrics.running.Dec()
	err = r.Run(ctx)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, bus.ErrLeaseLost) {
		err = cause
	}
	cancel(nil)
	return err
}

func alive(feeds []live.FeedRecord) (out []live.FeedRecord) {
	for i := range feeds {
		if feeds[i].Alive(time.Now()) {
			out = append(out, feeds[i])
		}
	}
	return out
}

// listen keeps the orders that wait, as long as the context lasts.
func (p *Pool) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.listenOnce(ctx); ctx.Err() == nil {
			p.Log.Warn("operators' orders could not be listened to, trying again", "error", err)
			pause(ctx, time.Second)
		}
	}
}

func (p *Pool) listenOnce(ctx context.Context) error {
	w, err := p.orders.Watch(ctx, "")
	if err != nil {
		return err
	}
	defer w.Close()
	p.mu.Lock()
	p.waiting = map[string][]waiting{}
	p.mu.Unlock()
	for {
		c, err := w.Next(ctx)
		if err != nil {
			return err
		}
		entry, _, ok := strings.Cut(c.Key, ".")
		if c.InitialDone || !ok {
			continue
		}
		p.forget(entry, c.Key)
		if c.Deleted {
			continue // somebody has obeyed, or nobody in its time
		}
		o, err := parseOrder(c.Value)
		if err != nil {
			p.Log.Warn("an order can't be read", "entry", entry, "error", err)
			continue
		}
		key := c.Key
		p.mu.Lock()
		p.waiting[entry] = append(p.waiting[entry], waiting{key, Order{Kind: o.Kind, File: o.File, At: o.At, Done: func() { p.done(ctx, entry, key) }}})
		p.mu.Unlock()
	}
}

// waiting is an order that nobody has obeyed yet.
type waiting struct {
	key string
	Order
}

func (p *Pool) forget(entry, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[entry] = slices.DeleteFunc(p.waiting[entry], func(w waiting) bool { return w.key == key })
	if len(p.waiting[entry]) == 0 {
		delete(p.waiting, entry)
	}
}

// done takes an order off the bus.
func (p *Pool) done(ctx context.Context, entry, key string) {
	p.forget(entry, key)
	if err := p.orders.Delete(ctx, key, 0); err != nil && ctx.Err() == nil {
		p.Log.Warn("an order that is done could not be removed; it is looked at once more", "entry", entry, "error", err)
	}
}

func (p *Pool) ordersOf(entry string) []Order {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Order, len(p.waiting[entry]))
	for i, w := range p.waiting[entry] {
		out[i] = w.Order
	}
	return out
}

func (p *Pool) ordered() (entries []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for entry := range p.waiting {
		entries = append(entries, entry)
	}
	return entries
}

// scan looks through the ledgers for work that nobody does. Who owns an entry comes first, so
// a ledger must have been without a recorder for one scan before.
func (p *Pool) scan(ctx context.Context, wg *sync.WaitGroup) error {
	seen := map[string]bool{}
	for o, err := range storage.All(ctx, p.Store, ledger.Prefix) {
		if err != nil {
			return err
		}
		entry, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, ledger.Prefix), ".json")
		if !ok || !live.ValidEntryID(entry) || !p.unfinished(ctx, entry, o.ETag) {
			continue
		}
		if kv, err := p.leases.Get(ctx, entry); err == nil {
			if holder, err := bus.LeaseHolder(kv); err == nil && holder != p.Name {
				continue
			}
		}
		if seen[entry] = true; p.orphaned[entry] {
			p.start(ctx, wg, entry)
		}
	}
	p.orphaned = seen
	return nil
}

// idle is a ledger that needs nobody as long as it is this one, until a file's time is over.
type idle struct {
	etag  string
	until time.Time // zero: for ever
}

// maxIdle bounds what is remembered of ledgers.
const maxIdle = 100_000

// unfinished reports whether an entry's ledger needs a recorder.
func (p *Pool) unfinished(ctx context.Context, entry, etag string) bool {
	now := time.Now()
	if known, ok := p.idle[entry]; ok && known.etag == etag && (known.until.IsZero() || now.Before(known.until)) {
		return false
	}
	l, err := ledger.Load(ctx, p.Store, entry)
	if err != nil {
		p.Log.Error("the recordings of an entry can't go on", "entry", entry, "error", err)
		return false
	}
	if l.Unfinished() {
		return true
	}
	var until time.Time
	for i := range l.Files {
		f := &l.Files[i]
		if p.Options.Keep == 0 || f.State != ledger.Confirmed {
			continue
		}
		over := f.Changed.Add(p.Options.Keep)
		if !now.Before(over) {
			return true
		}
		if until.IsZero() || over.Before(until) {
			until = over
		}
	}
	if len(p.idle) >= maxIdle {
		clear(p.idle)
	}
	p.idle[entry] = idle{etag, until}
	return false
}
