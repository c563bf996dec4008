package workers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage/timeline"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// owner holds, or waits for, the lease on one entry, and runs the entry's packager and
// registrar while it has it. Every worker has one for each entry that is live.
type owner struct {
	p        *Pool
	entry    string
	log      *slog.Logger
	nudged   chan struct{} // 1: the lease has news
	stopping chan struct{}
	once     sync.Once
	said     map[string]bool // what packagers have said once; of the one that runs

	// mu guards the fields below. It is taken after the pool's.
	mu        sync.Mutex
	records   map[live.FeedID]live.FeedRecord
	facts     *live.EntryFacts // what Kaltura said of the entry last,
	told      time.Time        // and when
	pinned    *live.Index      // an operator's choice between the encoders; nil without one
	packager  *packager.Packager
	registrar *registrar.Registrar
	taking    bool    // the lease is being taken
	tenure    *tenure // while the lease is held
	leaving   bool    // when stopping, the entry goes to another worker,
	successor string  // to this one; "" when it is not known who
}

// tenure is the time for which an owner holds the lease.
type tenure struct {
	guard *guard
	since time.Time
	free  time.Time // when the entry was seen without an owner
	move  chan struct{}

	// The rest is guarded by the owner's mu.
	moving  string // who gets the entry; "" while it stays
	resumed bool   // the entry was packaged under this tenure
	failure error  // why it is not packaged; nil while it is
}

func newOwner(p *Pool, entry string) *owner {
	return &owner{p: p, entry: entry, log: p.Log.With("entry", entry), nudged: make(chan struct{}, 1), stopping: make(chan struct{}),
		records: map[live.FeedID]live.FeedRecord{}, said: map[string]bool{}}
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
		o.packager.Feed(o.current(r))
	}
}

// current is a feed's record with what Kaltura has said of the entry since its grant; o.mu
// is held.
func (o *owner) current(r live.FeedRecord) live.FeedRecord {
	if o.facts != nil && o.told.After(r.Grant.At) {
		r.Grant.Refresh(*o.facts, o.p.MaxDVR)
	}
	return r
}

// refresh takes what Kaltura says of the entry now (row 49). It does not block.
func (o *owner) refresh(f live.EntryFacts) {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed := o.facts == nil || *o.facts != f
	o.facts, o.told = &f, time.Now()
	if !changed || o.packager == nil {
		return
	}
	for _, r := range o.records {
		o.packager.Feed(o.current(r))
	}
}

// nudge says that the lease has news.
func (o *owner) nudge() {
	select {
	case o.nudged <- struct{}{}:
	default:
	}
}

// retire asks run to leave the entry to another worker, the successor if it is known, and to
// return; or, when there is no other, to finish what it can.
func (o *owner) retire(leaving bool, successor string) {
	o.mu.Lock()
	o.leaving, o.successor = leaving, successor
	o.mu.Unlock()
	o.once.Do(func() { close(o.stopping) })
}

func (o *owner) stopped() bool {
	select {
	case <-o.stopping:
		return true
	default:
		return false
	}
}

// leaves reports whether another worker is to have the entry, and which, if that is known.
func (o *owner) leaves() (to string, leaving bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tenure != nil && o.tenure.moving != "" {
		return o.tenure.moving, true
	}
	return o.successor, o.leaving
}

// move asks the owner to hand its entry over and to stand by again. It reports false when it
// holds none, or is handing it over already.
func (o *owner) move(to string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tenure == nil || o.tenure.moving != "" || o.stopped() {
		return false
	}
	o.tenure.moving = to
	close(o.tenure.move)
	return true
}

// movable reports whether the entry has been owned long enough to be given away, and its
// feeds' bitrate. While its head and playlists can't be stored it stays: another owner could
// not even begin.
func (o *owner) movable() (load int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ok = o.tenure != nil && o.tenure.resumed && o.tenure.moving == "" && time.Since(o.tenure.since) >= o.p.MoveEvery && !o.stopped()
	ok = ok && o.packager != nil && o.packager.Problem() == nil
	return o.load(time.Now()), ok
}

// take marks the entry as being taken.
func (o *owner) take() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taking = true
}

// busy reports whether the entry is owned or being taken here, and not about to leave.
func (o *owner) busy() (busy bool, load int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tenure == nil && !o.taking || o.tenure != nil && o.tenure.moving != "" {
		return false, 0
	}
	return true, o.load(time.Now())
}

// load is the bitrate of the entry's feeds, with o.mu held.
func (o *owner) load(now time.Time) (bits int64) {
	for _, r := range o.records {
		if r.Alive(now) && r.Stats.Bitrate > 0 {
			bits += r.Stats.Bitrate
		}
	}
	return bits
}

// run owns the entry, or stands by for it, until its broadcast has ended.
func (o *owner) run(ctx context.Context) {
	for {
		lease, free := o.contend(ctx)
		if lease == nil {
			return
		}
		err := o.own(ctx, lease, free)
		switch {
		case err == nil || ctx.Err() != nil || o.stopped():
			return
		case errors.Is(err, packager.ErrStopped):
			continue // handed over: stand by again
		case errors.Is(err, bus.ErrLeaseLost) || errors.Is(err, timeline.ErrFenced):
			o.log.Warn("lost the entry to another worker", "error", err)
			o.p.metrics.lost.Inc()
		default:
			o.log.Error("owning the entry failed, trying again", "error", err)
		}
		if !o.pause(ctx, o.p.LeaseRetry) {
			return
		}
	}
}

// pause waits; false when the owner is to end.
func (o *owner) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-o.stopping:
		return false
	case <-t.C:
		return true
	}
}

// needed reports whether there is still a reason to want the lease: a feed that is alive, a
// broadcast that is open, or a registration that is to be taken back.
func (o *owner) needed(ctx context.Context) bool {
	if o.onAir(ctx) {
		return true
	}
	left, err := o.registered(ctx)
	return err != nil || len(left.Indexes) > 0 // what is not known may be so
}

// onAir reports whether there is something to package: a feed that is alive, or a broadcast
// that is open.
func (o *owner) onAir(ctx context.Context) bool {
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

// attach makes p and r the receivers of feed records, those that are known first. Either may
// be nil.
func (o *owner) attach(p *packager.Packager, r *registrar.Registrar) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packager, o.registrar = p, r
	if p != nil && o.pinned != nil {
		p.Pin(o.pinned)
	}
	for _, rec := range o.records {
		if r != nil {
			r.Feed(rec)
		}
		if p != nil {
			p.Feed(o.current(rec))
		}
	}
}
