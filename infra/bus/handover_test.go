package bus_test

import (
	"errors"
	"testing"
	"time"

	"klive/infra/bus"
)

func TestLeaseIsHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		l, err := bus.AcquireLease(ctx, b, "a", "worker-1", 15*time.Second)
		must(t, err)
		time.Sleep(10 * time.Second)
		wantErr(t, l.HandOver(ctx, ""), bus.ErrInvalid)
		must(t, l.HandOver(ctx, "worker-2"))
		if !isLost(l) || l.Err() != nil {
			t.Errorf("after the hand-over: lost %v, %v", isLost(l), l.Err())
		}
		wantErr(t, l.Renew(ctx), bus.ErrLeaseLost)
		_, err = bus.AcquireLease(ctx, b, "a", "worker-3", 15*time.Second)
		var held *bus.HeldError
		if !errors.As(err, &held) || held.Holder != "worker-2" {
			t.Fatalf("a third one finds %v", err)
		}
		next, err := bus.StealLease(ctx, b, "a", "worker-2", 15*time.Second, held.Revision)
		must(t, err)
		must(t, l.Release(ctx)) // of no effect
		time.Sleep(time.Minute)
		if isLost(next) {
			t.Errorf("the successor lost it: %v", next.Err())
		}
		must(t, next.Release(ctx))
	})
}

func TestLeaseHandedToNobodyIsSoonFree(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		l, err := bus.AcquireLease(ctx, b, "a", "worker-1", 15*time.Second)
		must(t, err)
		must(t, l.HandOver(ctx, "dead"))
		time.Sleep(bus.HandOverTTL + 1500*time.Millisecond)
		l, err = bus.AcquireLease(ctx, b, "a", "worker-3", 15*time.Second)
		must(t, err)
		must(t, l.Release(ctx))
	})
}

func TestLeaseIsRenewedOnRequest(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "leases"})
		l, err := bus.AcquireLease(ctx, b, "a", "worker-1", 15*time.Second)
		must(t, err)
		time.Sleep(2 * time.Second)
		before := l.Revision()
		must(t, l.Renew(ctx))
		if since := time.Since(l.Renewed()); since != 0 || l.Revision() <= before {
			t.Errorf("renewed %v ago, revision %d after %d", since, l.Revision(), before)
		}
		thief, err := bus.StealLease(ctx, b, "a", "worker-2", 15*time.Second, l.Revision())
		must(t, err)
		wantErr(t, l.Renew(ctx), bus.ErrLeaseLost)
		time.Sleep(time.Millisecond)
		if !isLost(l) {
			t.Error("the renewal failed, and the lease is not lost")
		}
		wantErr(t, l.HandOver(ctx, "worker-3"), bus.ErrLeaseLost)
		wantErr(t, l.Renew(ctx), bus.ErrLeaseLost)
		must(t, thief.Release(ctx))
	})
}
