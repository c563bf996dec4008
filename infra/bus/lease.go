package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	leaseVersion = 1
	minLeaseTTL  = 2 * time.Second
	// renewAttempt bounds one attempt to renew, and renewRetry is the wait after one
	// that failed: whom it was sent to may be gone, and the next leader known soon.
	renewAttempt = 2 * time.Second
	renewRetry   = 250 * time.Millisecond
)

// MostRenewWait is how long a lease goes at most without a renewal while its holder reaches the bus.
const MostRenewWait = 3 * time.Second

// ErrLeaseLost is why a lease ended that its holder did not release.
var ErrLeaseLost = errors.New("bus: lease lost")

// HeldError says that another holds the lease. It is an [ErrConflict].
type HeldError struct {
	Key      string
	Holder   string // who holds it, as told to AcquireLease
	Revision uint64 // for StealLease; the holder's next renewal changes it
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("bus: lease %s is held by %s", e.Key, e.Holder)
}

// Is makes a HeldError an ErrConflict.
func (e *HeldError) Is(target error) bool { return target == ErrConflict }

// leaseRecord is a lease's value. Readers ignore fields they do not know.
type leaseRecord struct {
	Version int    `json:"version"`
	Holder  string `json:"holder"`
	// Grip tells one acquisition from another by the same holder.
	Grip string `json:"grip"`
}

// LeaseHolder tells who holds the lease whose record kv is, for those who watch a
// bucket of leases.
func LeaseHolder(kv KeyValue) (holder string, err error) {
	r, err := parseLease(kv)
	return r.Holder, err
}

func parseLease(kv KeyValue) (leaseRecord, error) {
	var r leaseRecord
	if err := json.Unmarshal(kv.Value, &r); err != nil || r.Version < leaseVersion || r.Grip == "" {
		return r, fmt.Errorf("%w: %s holds no lease: use another key for leases", ErrInvalid, kv.Key)
	}
	return r, nil
}

// Lease is the right to do something that only one may do. It renews itself,
// every fifth of its ttl and at least every three seconds, and ends by Release or
// when it can no longer be sure of itself: before its ttl is over, so before
// another can acquire it.
type Lease struct {
	bucket *Bucket
	key    string
	ttl    time.Duration
	record leaseRecord
	value  []byte
	read   func(ctx context.Context, key string) (KeyValue, error) // of bucket

	releasing chan struct{}   // closed by Release
	lost      chan struct{}   // closed when the renewal has ended
	asked     chan chan error // by Renew: answered with the result of a renewal
	asking    sync.Mutex      // held by whom Check has ask

	// mu guards the fields below.
	mu       sync.Mutex
	revision uint64
	renewed  time.Time // when the newest renewal began that was answered
	released bool
	err      error
}

// AcquireLease takes the lease under key for holder. While another holds it, it
// returns a [HeldError]. ttl is in whole seconds, at least two; in a cluster take
// more than the ten seconds a failover may last.
func AcquireLease(ctx context.Context, b *Bucket, key, holder string, ttl time.Duration) (*Lease, error) {
	l, err := newLease(b, key, holder, ttl)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	l.revision, err = b.Create(ctx, key, l.value, ttl)
	if err == nil {
		return l.keep(start)
	}
	if errors.Is(err, ErrConflict) {
		if held := heldBy(ctx, b, key); held != nil {
			return nil, held
		}
	}
	return nil, err
}

// StealLease takes the lease from whoever holds it, provided it has not been
// renewed since revision, which comes from a [HeldError] or from watching the
// bucket. Otherwise it returns a [HeldError], or an [ErrConflict] if it is free
// by now.
func StealLease(ctx context.Context, b *Bucket, key, holder string, ttl time.Duration, revision uint64) (*Lease, error) {
	l, err := newLease(b, key, holder, ttl)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	l.revision, err = b.UpdateTTL(ctx, key, l.value, revision, ttl)
	if err == nil {
		return l.keep(start)
	}
	if errors.Is(err, ErrConflict) {
		if held := heldBy(ctx, b, key); held != nil {
			return nil, held
		}
	}
	return nil, err
}

// TakeLease is AcquireLease for a holder that is one process at a time: a lease that its name
// holds already is its own from before a restart, or was handed to it, and is taken over.
func TakeLease(ctx context.Context, b *Bucket, key, holder string, ttl time.Duration) (*Lease, error) {
	lease, err := AcquireLease(ctx, b, key, holder, ttl)
	var held *HeldError
	if errors.As(err, &held) && held.Holder == holder {
		return StealLease(ctx, b, key, holder, ttl, held.Revision)
	}
	return lease, err
}

func newLease(b *Bucket, key, holder string, ttl time.Duration) (*Lease, error) {
	if ttl < minLeaseTTL || checkTTL(ttl) != nil {
		return nil, fmt.Errorf("%w: lease %s: ttl %v: want whole seconds, at least %v", ErrInvalid, key, ttl, minLeaseTTL)
	}
	if holder == "" || len(holder) > maxKeyBytes {
		return nil, fmt.Errorf("%w: lease %s: a holder's name has 1 to %d bytes", ErrInvalid, key, maxKeyBytes)
	}
	record := leaseRecord{Version: leaseVersion, Holder: holder, Grip: rand.Text()}
	value, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("bus: lease %s: %w", key, err)
	}
	return &Lease{bucket: b, key: key, ttl: ttl, record: record, value: value, read: b.Get,
		releasing: make(chan struct{}), lost: make(chan struct{}), asked: make(chan chan error)}, nil
}

// heldBy tells who holds a lease, nil if that cannot be told.
func heldBy(ctx context.Context, b *Bucket, key string) error {
	kv, err := b.Get(ctx, key)
	if err != nil {
		return nil
	}
	r, err := parseLease(kv)
	if err != nil {
		return err
	}
	return &HeldError{Key: key, Holder: r.Holder, Revision: kv.Revision}
}

// keep starts the renewal of a lease that was written no earlier than start.
func (l *Lease) keep(start time.Time) (*Lease, error) {
	l.renewed = start
	_, err := l.bucket.control.run(func(ctx context.Context) {
		err := l.renew(ctx)
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		close(l.lost)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Revision is the revision of the last renewal.
func (l *Lease) Revision() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

// Lost is closed when the lease is no longer held, by Release too.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err says why the lease ended: nil while it is held and after Release.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Release gives the lease back, so that another can have it at once. A lease that
// was lost before is no error. When Release fails, the lease expires by itself.
func (l *Lease) Release(ctx context.Context) error {
	if err := l.endRenewal(ctx); err != nil {
		return err
	}
	if l.Err() != nil {
		return nil
	}
	err := l.under(ctx, func(revision uint64) error { return l.bucket.Delete(ctx, l.key, revision) })
	if errors.Is(err, ErrLeaseLost) {
		return nil
	}
	return err
}

// endRenewal ends the renewing and waits for one that was on its way.
func (l *Lease) endRenewal(ctx context.Context) error {
	l.mu.Lock()
	if !l.released {
		l.released = true
		close(l.releasing)
	}
	l.mu.Unlock()
	select {
	case <-l.lost:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// under makes a write on condition that the record has the lease's revision. Renewals may have been stored
// though their answers never came: then it is made under theirs. [ErrLeaseLost] means that another took the
// lease, or it expired.
func (l *Lease) under(ctx context.Context, write func(revision uint64) error) error {
	revision := l.Revision()
	err := write(revision)
	for errors.Is(err, ErrConflict) {
		if revision, err = l.unheard(ctx, revision); err == nil {
			err = write(revision)
		}
	}
	return err
}

// unheard returns the revision of a renewal of whose answer nobody has heard, behind the one by which a
// write was refused.
func (l *Lease) unheard(ctx context.Context, refused uint64) (revision uint64, err error) {
	for {
		kv, err := l.read(ctx, l.key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		if err != nil || kv.Revision > refused {
			if r, e := parseLease(kv); err != nil || e != nil || r.Grip != l.record.Grip {
				return 0, fmt.Errorf("%w: %s: another took it, or it expired", ErrLeaseLost, l.key)
			}
			return kv.Revision, nil
		}
		select { // the server that answers is behind: what it has may be of who held the lease before
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %s: the record is read as it was before", ErrUnavailable, l.key)
		case <-time.After(insistPause):
		}
	}
}

// renew renews until the lease is released, which is nil, or lost, and says why.
func (l *Lease) renew(ctx context.Context) error {
	every := min(l.ttl/5, MostRenewWait)
	// The server's clock starts no earlier than a renewal, so the ttl is not over before
	// this; the rest is for the holder to stop in.
	deadline := func() time.Time { return l.Renewed().Add(l.ttl - every) }
	wait := every
	for {
		var answer chan error // nil when nobody asked
		select {
		case <-l.releasing:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrLeaseLost, l.key, ErrClosed)
		case answer = <-l.asked:
		case <-time.After(min(wait, time.Until(deadline()))):
		}
		err := l.attempt(ctx, deadline())
		wait = renewRetry
		switch {
		case err == nil:
			wait = every
		case errors.Is(err, ErrLeaseLost):
		case !time.Now().Before(deadline()):
			err = fmt.Errorf("%w: %s could not be renewed in time: %w", ErrLeaseLost, l.key, err)
		}
		if answer != nil {
			answer <- err
		}
		if errors.Is(err, ErrLeaseLost) {
			return err
		}
	}
}

// attempt renews once, in the time that one attempt has before the deadline.
func (l *Lease) attempt(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	ctx, done := context.WithTimeout(ctx, renewAttempt)
	defer done()
	return l.renewOnce(ctx)
}

func (l *Lease) renewOnce(ctx context.Context) error {
	start := time.Now()
	var next uint64
	err := l.under(ctx, func(revision uint64) (err error) {
		next, err = l.bucket.UpdateTTL(ctx, l.key, l.value, revision, l.ttl)
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.revision, l.renewed = next, start
	l.mu.Unlock()
	return nil
}
