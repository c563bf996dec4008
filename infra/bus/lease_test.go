package bus_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
)

func isLost(l *bus.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

func TestLeaseHasOneHolder(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		l, err := bus.AcquireLease(ctx, b, "entry.0_abc", "worker-1", 15*time.Second)
		must(t, err)
		first := l.Revision()
		_, err = bus.AcquireLease(ctx, b, "entry.0_abc", "worker-2", 15*time.Second)
		var held *bus.HeldError
		if !errors.As(err, &held) || !errors.Is(err, bus.ErrConflict) || held.Holder != "worker-1" || held.Revision != l.Revision() {
			t.Fatalf("a held lease: %v", err)
		}
		time.Sleep(check.Length(3*time.Hour, 30*time.Minute))
		if isLost(l) || l.Err() != nil {
			t.Fatalf("lost after hundreds of renewals: %v", l.Err())
		}
		kv, err := b.Get(ctx, "entry.0_abc")
		must(t, err)
		if holder, err := bus.LeaseHolder(kv); err != nil || holder != "worker-1" || kv.Revision <= first {
			t.Errorf("the record names %q at revision %d, at first %d, %v", holder, kv.Revision, first, err)
		}
		must(t, l.Release(ctx))
		if !isLost(l) || l.Err() != nil {
			t.Errorf("after release: lost %v, %v", isLost(l), l.Err())
		}
		next, err := bus.AcquireLease(ctx, b, "entry.0_abc", "worker-2", 15*time.Second)
		must(t, err)
		if next.Revision() <= l.Revision() {
			t.Errorf("revision %d after %d", next.Revision(), l.Revision())
		}
		must(t, l.Release(ctx))
		if time.Sleep(5 * time.Second); isLost(next) {
			t.Errorf("a second release took the lease from its next holder: %v", next.Err())
		}
		must(t, next.Release(ctx))
	})
}

func TestLeaseExpires(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		dying := bustest.Connect(t, n, "dying")
		l, err := bus.AcquireLease(ctx, openBucket(t, dying, bus.BucketConfig{Name: "leases"}), "a", "worker-1", 15*time.Second)
		must(t, err)
		time.Sleep(time.Minute)
		dying.Close() // as a killed process would
		died := time.Now()
		if !isLost(l) || !errors.Is(l.Err(), bus.ErrLeaseLost) {
			t.Errorf("without a connection: lost %v, %v", isLost(l), l.Err())
		}
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		for {
			next, err := bus.AcquireLease(ctx, b, "a", "worker-2", 15*time.Second)
			if err == nil {
				must(t, next.Release(ctx))
				break
			}
			wantErr(t, err, bus.ErrConflict)
			time.Sleep(100 * time.Millisecond)
		}
		if gone := time.Since(died); gone < 11*time.Second || gone > 17*time.Second {
			t.Errorf("a lease of 15 s was free %v after its holder died", gone)
		}
	})
}

func TestLeaseIsStolen(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		l, err := bus.AcquireLease(ctx, b, "a", "worker-1", 15*time.Second)
		must(t, err)
		stale := l.Revision()
		time.Sleep(4 * time.Second)
		_, err = bus.StealLease(ctx, b, "a", "worker-2", 15*time.Second, stale)
		var held *bus.HeldError
		if !errors.As(err, &held) || held.Holder != "worker-1" {
			t.Fatalf("stealing by an old revision: %v", err)
		}
		thief, err := bus.StealLease(ctx, b, "a", "worker-2", 15*time.Second, held.Revision)
		must(t, err)
		if thief.Revision() <= l.Revision() {
			t.Errorf("revision %d after %d", thief.Revision(), l.Revision())
		}
		select {
		case <-l.Lost():
		case <-time.After(4 * time.Second):
			t.Fatal("the robbed holder did not notice at its next renewal")
		}
		wantErr(t, l.Err(), bus.ErrLeaseLost)
		must(t, l.Release(ctx))
		time.Sleep(time.Minute)
		if isLost(thief) {
			t.Errorf("the thief lost it: %v", thief.Err())
		}
		must(t, thief.Release(ctx))
		_, err = bus.StealLease(ctx, b, "a", "worker-1", 15*time.Second, thief.Revision())
		wantErr(t, err, bus.ErrConflict)
	})
}

func TestLeaseIsReleasedWhileItRenews(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		for i := range check.Length(200, 50) {
			l, err := bus.AcquireLease(t.Context(), b, "a", fmt.Sprint(i), 15*time.Second)
			must(t, err)
			time.Sleep(3 * time.Second) // the very moment of a renewal
			must(t, l.Release(t.Context()))
		}
	})
}

func TestLeaseIsLostBeforeItEnds(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		far := newNetwork(n)
		c := far.connect(t)
		l, err := bus.AcquireLease(t.Context(), openBucket(t, c, bus.BucketConfig{Name: "leases", Memory: true}), "a", "w", 15*time.Second)
		must(t, err)
		renewed := time.Now()
		far.cut()
		<-l.Lost()
		if after := time.Since(renewed); after > 15*time.Second {
			t.Errorf("a holder that could not renew went on for %v of its 15 s", after)
		}
		wantErr(t, l.Err(), bus.ErrLeaseLost)
	})
}

func TestLeaseRace(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			holder string
			turns  int
		)
		for i := range 5 {
			b := openBucket(t, bustest.Connect(t, n, fmt.Sprint(i)), bus.BucketConfig{Name: "leases"})
			wg.Go(func() {
				name := fmt.Sprint("worker-", i)
				for range check.Length(200, 50) {
					l, err := bus.AcquireLease(t.Context(), b, "a", name, 15*time.Second)
					if err != nil {
						time.Sleep(time.Duration(100+i) * time.Millisecond)
						continue
					}
					mu.Lock()
					if holder != "" {
						t.Errorf("%s and %s hold the lease together", holder, name)
					}
					holder = name
					turns++
					mu.Unlock()
					time.Sleep(700 * time.Millisecond)
					mu.Lock()
					holder = ""
					mu.Unlock()
					if err := l.Release(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if turns < 10 {
			t.Errorf("the lease was held %d times in all", turns)
		}
	})
}

func TestLeaseRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		for _, ttl := range []time.Duration{0, time.Second, 2500 * time.Millisecond} {
			_, err := bus.AcquireLease(t.Context(), b, "a", "w", ttl)
			wantErr(t, err, bus.ErrInvalid)
		}
		_, err := bus.AcquireLease(t.Context(), b, "a", "", 15*time.Second)
		wantErr(t, err, bus.ErrInvalid)
		_, err = b.Put(t.Context(), "value", []byte("not a lease"))
		must(t, err)
		_, err = bus.AcquireLease(t.Context(), b, "value", "w", 15*time.Second)
		wantErr(t, err, bus.ErrInvalid)
	})
}

// A lease that one's own name holds is taken from before a restart; another's is not.
func TestLeaseOfOnesOwnIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		before, err := bus.TakeLease(ctx, b, "entry.0_abc", "worker-1", 15*time.Second)
		must(t, err)
		_, err = bus.TakeLease(ctx, b, "entry.0_abc", "worker-2", 15*time.Second)
		var held *bus.HeldError
		if !errors.As(err, &held) || held.Holder != "worker-1" {
			t.Fatalf("another's lease: %v", err)
		}
		now, err := bus.TakeLease(ctx, b, "entry.0_abc", "worker-1", 15*time.Second)
		must(t, err)
		time.Sleep(20 * time.Second)
		if !isLost(before) || isLost(now) {
			t.Errorf("the one from before is lost: %v; the new one: %v", isLost(before), isLost(now))
		}
		must(t, now.Release(ctx))
	})
}
