package workers

import (
	"context"
	"errors"
	"time"

	"klive/infra/bus"
)

// takeRetry is how long an attempt to take a lease waits after one that failed without
// finding it held.
const takeRetry = 200 * time.Millisecond

// contend waits until the entry's lease can be had, and takes it. free is when this process
// saw it free, or its holder silent. It returns nil when the entry needs no owner any more, or
// when this one is to end.
func (o *owner) contend(ctx context.Context) (lease *bus.Lease, free time.Time) {
	var checked time.Time // when it was last found to need an owner
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, free
		case <-o.stopping:
			return nil, free
		case <-o.nudged:
		case <-timer.C:
		}
		now := time.Now()
		held, ok := o.p.leases.get(o.entry)
		ours := ok && held.holder == o.p.Name
		steal := ok && !ours && o.p.silent(held, now)
		if ok && !ours && !steal {
			free = time.Time{}
		} else if free.IsZero() {
			free = now
		}
		if !free.IsZero() || now.Sub(checked) >= o.p.LeaseRetry {
			if !o.needed(ctx) {
				return nil, free
			}
			checked = now
		}
		wait := o.p.LeaseRetry
		if !free.IsZero() {
			if lease, wait = o.attempt(ctx, held, ours, steal, free); lease != nil {
				return lease, free
			}
		}
		timer.Reset(wait)
	}
}

// attempt takes the lease if it is this worker's turn. Without success it returns how long to
// wait.
func (o *owner) attempt(ctx context.Context, held seenLease, ours, steal bool, free time.Time) (*bus.Lease, time.Duration) {
	if ours {
		o.take() // left by a process of this name before a restart, or handed to this one
	} else if wait := o.p.turn(o, free, time.Now()); wait > 0 {
		return nil, wait
	}
	lease, err := o.acquire(ctx, held, ours || steal)
	if err == nil {
		if steal {
			o.log.Warn("took the entry from a worker that is silent", "holder", held.holder)
			o.p.metrics.steals.Inc()
		}
		return lease, 0
	}
	o.mu.Lock()
	o.taking = false
	o.mu.Unlock()
	var other *bus.HeldError
	if errors.As(err, &other) {
		o.p.leases.held(other)
		o.log.Debug("another worker owns the entry", "holder", other.Holder)
		return nil, o.p.LeaseRetry
	}
	if ctx.Err() == nil {
		o.log.Warn("the entry's lease could not be taken, trying again", "error", err)
	}
	return nil, takeRetry
}

// acquire takes a lease that is free, or the one that was seen. One that is this process's by
// its record is taken whether it was seen or not.
func (o *owner) acquire(ctx context.Context, seen seenLease, steal bool) (*bus.Lease, error) {
	if steal {
		lease, err := bus.StealLease(ctx, o.p.bucket, o.entry, o.p.Name, o.p.LeaseTTL, seen.revision)
		var held *bus.HeldError
		if !errors.As(err, &held) || held.Holder != o.p.Name {
			return lease, err
		}
	}
	return bus.TakeLease(ctx, o.p.bucket, o.entry, o.p.Name, o.p.LeaseTTL)
}
