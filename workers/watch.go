package workers

import (
	"context"
	"errors"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// patrolEvery is how often silent workers are looked for.
const patrolEvery = 100 * time.Millisecond

// watch follows feeds, broadcasts, registrations, pins and leases until the context ends or the bus is closed.
func (p *Pool) watch(ctx, hard context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, w := range []struct {
		what   string
		bucket *bus.Bucket
		take   func(bus.Change)
		forget func() // what was seen of a bucket that was made anew
	}{
		{"leases", p.bucket, func(c bus.Change) { p.lease(hard, c) }, p.leases.reset},
		{"feeds", p.Feeds, func(c bus.Change) { p.feedChange(hard, c) }, func() {}},
		{"broadcasts", p.Broadcasts, func(c bus.Change) { p.broadcast(hard, c) }, func() {}},
		{"registrations", p.registrations, func(c bus.Change) { p.registration(hard, c) }, func() {}},
		{"pins", p.pins, p.pin, p.forgetPins},
	} {
		wg.Go(func() { cancel(p.follow(ctx, w.what, w.bucket, w.take, w.forget)) })
	}
	if p.Beats != nil {
		wg.Go(func() { p.patrol(ctx) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// follow hands a bucket's changes to take, over and over while the bus can't be reached.
func (p *Pool) follow(ctx context.Context, what string, b *bus.Bucket, take func(bus.Change), forget func()) error {
	for {
		err := followOnce(ctx, b, take)
		if ctx.Err() != nil || errors.Is(err, bus.ErrClosed) {
			return err
		}
		if errors.Is(err, bus.ErrAnew) {
			p.Log.Warn("the bus has lost what it held and is watched anew", "what", what)
			forget()
			continue
		}
		p.Log.Error("watching the bus failed, trying again", "what", what, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func followOnce(ctx context.Context, b *bus.Bucket, take func(bus.Change)) error {
	w, err := b.Watch(ctx, "")
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		change, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if !change.InitialDone {
			take(change)
		}
	}
}

// lease takes a change of who owns an entry. One that was handed to this worker is looked
// after even if its feeds were not heard of yet.
func (p *Pool) lease(hard context.Context, c bus.Change) {
	holder := p.leases.change(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.owners[c.Key]
	switch {
	case o != nil:
		o.nudge()
	case holder == p.Name:
		p.start(hard, c.Key)
	default:
		p.leases.drop(c.Key)
	}
}

// broadcast takes a change of an entry's broadcast. An open one needs an owner, which goes on
// with it when its feeds come back, or ends it.
func (p *Pool) broadcast(hard context.Context, c bus.Change) {
	if c.Deleted {
		return
	}
	b, err := live.UnmarshalBroadcastRecord(c.Value)
	if err != nil {
		p.Log.Warn("a broadcast record can't be read", "entry", c.Key, "error", err)
		return
	}
	if b.Ended {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(hard, c.Key)
}

// feedChange takes a change of a feed's record.
func (p *Pool) feedChange(hard context.Context, c bus.Change) {
	if c.Deleted {
		return
	}
	r, err := live.UnmarshalFeedRecord(c.Value)
	if err != nil {
		p.Log.Warn("a feed record can't be read", "feed", c.Key, "error", err)
		return
	}
	p.feed(hard, r)
}

// feed hands a record to the entry's owner, which it makes when the feed is alive.
func (p *Pool) feed(hard context.Context, r live.FeedRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.records[r.Feed.FeedID]; ok && old.Feed.Epoch > r.Feed.Epoch {
		return
	}
	o := p.owners[r.Feed.Entry]
	if o == nil && !r.Alive(time.Now()) {
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

// patrol wakes the owners whose entries are held by a silent worker, and spreads the load.
func (p *Pool) patrol(ctx context.Context) {
	ticker := time.NewTicker(patrolEvery)
	defer ticker.Stop()
	var spread balancer
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		p.mu.Lock()
		for entry, o := range p.owners {
			if l, ok := p.leases.get(entry); ok && l.holder != p.Name && p.silent(l, now) {
				o.nudge()
			}
		}
		p.mu.Unlock()
		if n%5 == 0 {
			p.balance(&spread, now)
		}
	}
}
