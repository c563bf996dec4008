package workers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage/timeline"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// owner holds, or waits for, the lease on one entry, and runs the entry's packager and
// registrar while it has it.
type owner struct {
	p        *Pool
	entry    string
	log      *slog.Logger
	stopping chan struct{}
	once     sync.Once

	// mu guards the fields below.
	mu        sync.Mutex
	records   map[live.FeedID]live.FeedRecord
	packager  *packager.Packager
	registrar *registrar.Registrar
}

func newOwner(p *Pool, entry string) *owner {
	return &owner{p: p, entry: entry, log: p.Log.With("entry", entry), stopping: make(chan struct{}), records: map[live.FeedID]live.FeedRecord{}}
}

// feed brings a feed's newest record. It does not block.
func (o *owner) feed(r live.FeedRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records[r.Feed.FeedID] = r
	if o.registrar != nil {
		o.registrar.Feed(r)
	}
	if o.packager != nil {
		o.packager.Feed(r)
	}
}

// stop asks run to finish what it can and to return.
func (o *owner) stop() { o.once.Do(func() { close(o.stopping) }) }

func (o *owner) stopped() bool {
	select {
	case <-o.stopping:
		return true
	default:
		return false
	}
}

// run owns the entry until its broadcast has ended, or until another owner is in charge and
// no feed is left to wait for.
func (o *owner) run(ctx context.Context) {
	for ctx.Err() == nil && !o.stopped() {
		lease, err := o.acquire(ctx)
		if err == nil {
			err = o.own(ctx, lease)
		}
		var held *bus.HeldError
		switch {
		case err == nil || errors.Is(err, packager.ErrStopped):
			return
		case errors.As(err, &held):
			o.log.Debug("another worker owns the entry", "holder", held.Holder)
		default:
			o.log.Error("owning the entry failed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-o.stopping:
		case <-time.After(o.p.LeaseRetry):
		}
		if !o.needed(ctx) {
			return
		}
	}
}

// needed reports whether there is still a reason to want the lease: a feed that is alive,
// or a broadcast that is open.
func (o *owner) needed(ctx context.Context) bool {
	if o.alive(time.Now()) {
		return true
	}
	kv, err := o.p.Broadcasts.Get(ctx, o.entry)
	if err != nil {
		return !errors.Is(err, bus.ErrNotFound)
	}
	b, err := live.UnmarshalBroadcastRecord(kv.Value)
	return err == nil && !b.Ended
}

func (o *owner) alive(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.records {
		if r.Alive(now) {
			return true
		}
	}
	return false
}

// acquire takes the lease. One that a process of this name held is this process's own from
// before a restart.
func (o *owner) acquire(ctx context.Context) (*bus.Lease, error) {
	lease, err := bus.AcquireLease(ctx, o.p.leases, o.entry, o.p.Name, o.p.LeaseTTL)
	var held *bus.HeldError
	if errors.As(err, &held) && held.Holder == o.p.Name {
		return bus.StealLease(ctx, o.p.leases, o.entry, o.p.Name, o.p.LeaseTTL, held.Revision)
	}
	return lease, err
}

// own works as the entry's owner while the lease lasts, and gives it back.
func (o *owner) own(ctx context.Context, lease *bus.Lease) error {
	o.p.owned.Inc()
	defer o.p.owned.Dec()
	own, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lease.Lost():
			cancel(errors.Join(bus.ErrLeaseLost, lease.Err()))
		case <-own.Done():
		}
	}()
	err := o.work(own)
	cancel(nil)
	<-watched
	release, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if e := lease.Release(release); e != nil {
		o.log.Warn("the lease could not be given back; it runs out by itself", "error", e)
	}
	return err
}

// work runs the packager and the registrar until the broadcast has ended, another owner has
// the entry, or the context ends. The packager begins anew after other errors.
func (o *owner) work(ctx context.Context) error {
	r := registrar.New(registrar.Config{Entry: o.entry, API: o.p.API, Kick: o.kick, Metrics: o.p.registering, Log: o.p.Log, Options: o.p.Registrar})
	calls, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(calls) })
	err := o.pack(ctx, r)
	for !final(err) && ctx.Err() == nil && !o.stopped() {
		o.log.Error("packaging failed, beginning anew", "error", err)
		select {
		case <-ctx.Done():
		case <-o.stopping:
		case <-time.After(o.p.LeaseRetry):
			err = o.pack(ctx, r)
		}
	}
	o.attach(nil, nil)
	if errors.Is(err, timeline.ErrFenced) {
		cancel() // the entry is another's now, and so is its registration
	}
	r.Stop()
	wg.Wait()
	return err
}

// final reports whether nothing is left to package for this owner.
func final(err error) bool {
	return err == nil || errors.Is(err, packager.ErrStopped) || errors.Is(err, timeline.ErrFenced)
}

// pack opens the timeline under a new epoch and packages.
func (o *owner) pack(ctx context.Context, r *registrar.Registrar) error {
	epoch, err := o.nextEpoch(ctx)
	if err != nil {
		return err
	}
	w, err := timeline.OpenWriter(ctx, timeline.WriterConfig{
		Store: o.p.Store, Log: o.p.Timeline, Entry: o.entry, Epoch: epoch, Owner: o.p.Name,
		Keep: 2 * o.p.Packager.LiveWindow, Logger: o.p.Log,
	})
	if err != nil {
		return err
	}
	o.log.Info("owning the entry", "epoch", epoch)
	p := packager.New(packager.Config{
		Entry: o.entry, Media: o.p.Media, Timeline: w, Store: o.p.Store, Broadcasts: o.p.Broadcasts, Chapters: o.p.Chapters,
		Stored: r.Stored, Metrics: o.p.packaging, Log: o.p.Log, Options: o.p.Packager,
	})
	o.attach(p, r)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-o.stopping:
			r.Stop()
			p.Stop()
		case <-quit:
		}
	})
	err = p.Run(ctx)
	close(quit)
	wg.Wait()
	return err
}

// attach makes p and r the receivers of feed records, those that are known first.
func (o *owner) attach(p *packager.Packager, r *registrar.Registrar) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packager, o.registrar = p, r
	if p == nil {
		return
	}
	for _, rec := range o.records {
		r.Feed(rec)
		p.Feed(rec)
	}
}

// nextEpoch returns an epoch above every one before it. A counter that was lost with the
// bus's data goes on from the timeline's head.
func (o *owner) nextEpoch(ctx context.Context) (uint64, error) {
	head, err := timeline.LoadHead(ctx, o.p.Store, o.entry)
	if err != nil && !errors.Is(err, timeline.ErrNoTimeline) {
		return 0, err
	}
	epoch, err := o.p.epochs.Next(ctx, o.entry)
	if err != nil || head == nil || epoch > head.Epoch {
		return epoch, err
	}
	if _, err := o.p.epochs.Put(ctx, o.entry, strconv.AppendUint(nil, head.Epoch, 10)); err != nil {
		return 0, err
	}
	return o.p.epochs.Next(ctx, o.entry)
}

// kick asks every gateway to drop the entry's publishers.
func (o *owner) kick(reason string) {
	b, err := json.Marshal(live.Kick{Reason: reason})
	if err == nil {
		err = o.p.Control.Notify(live.KickSubject(o.entry), b)
	}
	if err != nil {
		o.log.Error("the gateways could not be asked to drop the publishers; the next keep-alive tries again", "error", err)
	}
}
