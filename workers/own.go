package workers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/timeline"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// releaseTimeout bounds the giving back of a lease.
const releaseTimeout = 2 * time.Second

// own works as the entry's owner while the lease lasts, and gives it back or hands it over.
func (o *owner) own(ctx context.Context, lease *bus.Lease, free time.Time) error {
	t := &tenure{
		guard: &guard{lease: lease, within: o.p.unasked()},
		since: time.Now(), free: free, move: make(chan struct{}),
	}
	o.begin(t)
	own, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { t.guard.watch(own, func(err error) { cancel(err) }) })
	err := packager.ErrStopped
	if !o.stopped() {
		err = o.work(own, t)
	}
	if cause := context.Cause(own); errors.Is(cause, bus.ErrLeaseLost) && !errors.Is(err, bus.ErrLeaseLost) {
		err = errors.Join(err, cause) // what was cut off may say something else, or nothing
	}
	cancel(nil)
	wg.Wait()
	o.judgeFence(ctx, lease, err)
	heir := ""
	if errors.Is(err, packager.ErrStopped) {
		heir, _ = o.leaves()
	}
	o.finish()
	o.giveBack(ctx, lease, heir)
	return err
}

// begin and finish keep what others see of the tenure.
func (o *owner) begin(t *tenure) { o.p.metrics.owned.Inc(); o.setTenure(t) }

func (o *owner) finish() { o.p.metrics.owned.Dec(); o.setTenure(nil) }

func (o *owner) setTenure(t *tenure) {
	o.mu.Lock()
	o.tenure, o.taking = t, false
	o.mu.Unlock()
	o.p.tell()
}

// giveBack ends the lease in favour of the heir, or of whoever comes first.
func (o *owner) giveBack(ctx context.Context, lease *bus.Lease, heir string) {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer done()
	if heir != "" {
		err := lease.HandOver(ctx, heir)
		if err == nil {
			o.log.Info("handed the entry over", "to", heir)
			o.p.metrics.handovers.Inc()
			return
		}
		o.log.Warn("the entry could not be handed over and goes to whoever comes first", "to", heir, "error", err)
	}
	if err := lease.Release(ctx); err != nil {
		o.log.Warn("the lease could not be given back; it runs out by itself", "error", err)
	}
}

// work runs the packager and the registrar until the broadcast has ended, another owner has
// the entry or is to have it, or the context ends. The packager begins anew after other errors.
func (o *owner) work(ctx context.Context, t *tenure) error {
	r := registrar.New(registrar.Config{Entry: o.entry, API: fencedAPI{o.p.API, t.guard}, Kick: o.kick, Facts: o.refresh, Note: o.note(t),
		Metrics: o.p.registering, Log: o.p.Log, Options: o.p.Registrar})
	left, ok := o.inherited(ctx)
	if !ok {
		return packager.ErrStopped
	}
	r.Inherit(left.PartnerID, left.Indexes)
	calls, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	run := func() {
		go func() {
			defer close(ended)
			r.Run(calls)
		}()
	}
	if len(left.Indexes) > 0 && !o.onAir(ctx) {
		run()
		o.settle(r, cancel, ended)
		return nil
	}
	err := o.pack(ctx, t, r, run)
	for !final(err) && ctx.Err() == nil && !o.going() {
		o.failed(t, err)
		o.log.Error("packaging failed, beginning anew", "error", err)
		if !o.pause(ctx, o.p.LeaseRetry) {
			break
		}
		err = o.pack(ctx, t, r, func() {})
	}
	o.attach(nil, nil)
	switch {
	case errors.Is(err, timeline.ErrFenced):
		cancel() // the entry is another's now, and so is its registration
	case err != nil && o.going():
		cancel() // the heir goes on with the registration
		err = errors.Join(packager.ErrStopped, err)
	case err == nil && !o.stopped():
		o.unpin(ctx)
		o.settle(r, cancel, ended)
	default:
		r.Stop()
	}
	<-ended
	return err
}

// settle waits until a broadcast that is over is unregistered as well. An API that is away may
// take its time: the entry stays owned until then, or until it is on the air again.
func (o *owner) settle(r *registrar.Registrar, cancel func(), ended <-chan struct{}) {
	back := r.Finish()
	o.attach(nil, r)
	defer o.attach(nil, nil)
	select {
	case <-ended:
	case <-back:
		cancel() // the next registration makes up for what is left
	case <-o.stopping:
		if o.going() {
			cancel() // another worker goes on trying
		} else {
			r.Stop()
		}
	}
	<-ended
}

// going reports whether another worker is to have the entry.
func (o *owner) going() bool {
	_, leaving := o.leaves()
	return leaving
}

// final reports whether nothing is left to package for this owner.
func final(err error) bool {
	return err == nil || errors.Is(err, packager.ErrStopped) || errors.Is(err, timeline.ErrFenced)
}

// pack opens the timeline under a new epoch and packages. opened is called once the registrar
// knows what owners before this one have stored.
func (o *owner) pack(ctx context.Context, t *tenure, r *registrar.Registrar, opened func()) error {
	epoch, err := o.nextEpoch(ctx)
	if err != nil {
		opened()
		return err
	}
	store := newFencedStore(o.p.Store, t.guard, o.entry, epoch)
	w, err := timeline.OpenWriter(ctx, timeline.WriterConfig{
		Store: store, Log: o.p.Timeline, Entry: o.entry, Epoch: epoch, Owner: o.p.Name,
		Keep: 2 * o.p.Packager.LiveWindow, Logger: o.p.Log,
	})
	if err != nil {
		opened()
		return err
	}
	o.opened(t, w, r)
	opened()
	p := packager.New(packager.Config{
		Entry: o.entry, Said: o.said, Media: o.p.Media, Timeline: w, Store: store, Shelf: shelf(o.p.Store), Broadcasts: fencedBroadcasts{o.p.Broadcasts, t.guard}, Chapters: o.p.Chapters, Jobs: o.p.Jobs, Ends: o.p.Ends,
		Stored: r.Stored, Used: o.p.Used, Hearing: o.p.hearing(), Floor: floor{o, w}, Metrics: o.p.packaging, Log: o.p.Log, Options: o.p.Packager,
	})
	o.attach(p, r)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { o.steer(t, p, r, quit) })
	wg.Go(func() { store.seal(ctx, w.State(), o.p.Packager.LiveWindow) })
	err = p.Run(ctx)
	close(quit)
	wg.Wait()
	return err
}

// steer passes on that the entry is to be handed over or ended.
func (o *owner) steer(t *tenure, p *packager.Packager, r *registrar.Registrar, quit <-chan struct{}) {
	select {
	case <-t.move:
		p.HandOver()
	case <-o.stopping:
		if o.going() {
			p.HandOver()
			return
		}
		r.Stop()
		p.Stop()
	case <-quit:
	}
}

// opened notes that the timeline is open, and what it holds already.
func (o *owner) opened(t *tenure, w *timeline.Writer, r *registrar.Registrar) {
	o.mu.Lock()
	first := !t.resumed
	t.resumed, t.failure = true, nil
	o.mu.Unlock()
	o.log.Info("owning the entry", "epoch", w.State().Epoch)
	if !first {
		return
	}
	o.p.metrics.took.Observe(time.Since(t.free).Seconds())
	if b := w.State().Current(); b != nil && !b.Ended {
		o.p.metrics.takeovers.Inc()
		ends := make([]time.Time, len(b.Items))
		for i := range b.Items {
			ends[i] = b.Items[i].End().Std()
		}
		r.Resume(ends)
	}
}

// failed notes why the entry can't be packaged.
func (o *owner) failed(t *tenure, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.failure = err
}

// headWait bounds a look at the head: an owner begins without it when the store is away.
const headWait = 3 * time.Second

// nextEpoch returns an epoch above every one before it, and above the timeline's head if that
// can be read: the counter may be younger, or may have been lost with the bus's data and begun
// again by a clock that is slow.
func (o *owner) nextEpoch(ctx context.Context) (uint64, error) {
	var floor uint64
	try, cancel := context.WithTimeout(ctx, headWait)
	defer cancel()
	if head, err := timeline.LoadHead(try, o.p.Store, o.entry); err == nil {
		floor = head.Epoch
	}
	return o.p.epochs.NextAbove(ctx, o.entry, floor)
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

// maxPlaylist bounds a stored playlist that is read.
const maxPlaylist = 8 << 20

// readText reads a stored playlist.
func readText(ctx context.Context, s storage.Store, key string) (string, storage.Info, error) {
	r, info, err := s.Get(ctx, key, nil)
	if err != nil {
		return "", info, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxPlaylist+1))
	if err == nil && len(b) > maxPlaylist {
		err = storage.ErrRange
	}
	return string(b), info, err
}
