package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// HandOverTTL is how long a lease that was handed over waits for its new holder.
const HandOverTTL = 2 * time.Second

// HandOver ends the lease in favour of another holder: its record names that one from now
// on, for HandOverTTL, and [StealLease] with that record's revision makes it its own. All
// others find it held for as long. An error that wraps [ErrLeaseLost] means that it was
// another's already.
func (l *Lease) HandOver(ctx context.Context, to string) error {
	value, err := json.Marshal(leaseRecord{Version: leaseVersion, Holder: to, Grip: rand.Text()})
	if err != nil || to == "" || len(to) > maxKeyBytes {
		return fmt.Errorf("%w: lease %s: a holder's name has 1 to %d bytes", ErrInvalid, l.key, maxKeyBytes)
	}
	if err := l.endRenewal(ctx); err != nil {
		return err
	}
	if err := l.Err(); err != nil {
		return err
	}
	return l.under(ctx, func(revision uint64) error {
		_, err := l.bucket.UpdateTTL(ctx, l.key, value, revision, HandOverTTL)
		return err
	})
}

// Renewed is when the newest renewal began that was answered, at first the acquisition:
// the lease cannot have expired before its ttl is over from then.
func (l *Lease) Renewed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// Renew renews the lease now and so proves that it is still held. It is for a holder that
// has reason to doubt, because it was stopped or cut off. An error that wraps
// [ErrLeaseLost] means that it is not; after another one nobody knows.
func (l *Lease) Renew(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.asked <- answer:
	case <-l.lost:
		return l.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-l.lost:
		return l.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Check returns nil when the newest renewal is younger than within, so that nobody can have taken the
// lease who waits that long, or when the bus has just said that nobody has. Of many who check at once
// one asks.
func (l *Lease) Check(ctx context.Context, within time.Duration) error {
	fresh := func() bool { return time.Since(l.Renewed()) < within }
	select {
	case <-l.lost:
		return l.ended()
	default:
	}
	if fresh() {
		return nil
	}
	l.asking.Lock()
	defer l.asking.Unlock()
	if fresh() {
		return nil
	}
	return l.Renew(ctx)
}

// ended is why a lease that is over is over.
func (l *Lease) ended() error {
	if err := l.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s: it was given back", ErrLeaseLost, l.key)
}
