package sweeper

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/storage"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// TestOneAtATime runs two sweepers on one bus: one of them sweeps, and when it ends the other does.
func TestOneAtATime(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		control := bustest.Start(t)
		owners, err := control.Bucket(t.Context(), bus.BucketConfig{Name: "owners"})
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		var sweeps [2]atomic.Int32
		var running sync.WaitGroup
		defer running.Wait()
		var stop [2]context.CancelFunc
		for i, name := range []string{"a", "b"} {
			store := &watched{Store: r.store, lists: &sweeps[i]}
			s, err := New(Config{Name: name, Control: control, Owners: owners, Store: store, Log: r.log, Every: 10 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop[i] = cancel
			running.Go(func() {
				if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
			})
			time.Sleep(time.Second)
		}
		orphan := folder + "1000-9.m4s"
		r.put(orphan)
		time.Sleep(2 * time.Hour)
		if a, b := sweeps[0].Load(), sweeps[1].Load(); a != 12 || b != 0 {
			t.Errorf("%d and %d sweeps in two hours", a, b)
		}
		if left := r.keys(folder); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		stop[0]()
		time.Sleep(5 * time.Minute)
		if b := sweeps[1].Load(); b != 1 {
			t.Errorf("%d sweeps after the other has gone", b)
		}
		stop[1]()
	})
}

// TestEntryLease shows that a broadcast is expired under its entry's lease, and not while
// somebody owns the entry.
func TestEntryLease(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		control := bustest.Start(t)
		owners, err := control.Bucket(t.Context(), bus.BucketConfig{Name: "owners"})
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		r.begin(tt.Broadcast, 0)
		r.segments(5)
		r.end()
		s, err := New(Config{Name: "node", Control: control, Owners: owners, Store: r.store, Log: r.log})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		owner, err := bus.AcquireLease(t.Context(), owners, tt.Entry, "node", leaseTTL)
		if err != nil {
			t.Fatal(err)
		}
		if rep := r.sweep(s); rep.expired != 0 {
			t.Errorf("expired %d broadcasts of an entry that has an owner", rep.expired)
		}
		if err := owner.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		// An owner that steals the lease half way ends the expiry, and nothing is broken.
		var thief *bus.Lease
		r.store.Before = func(ctx context.Context, op, key string) error {
			if op != "put" || key != timeline.HeadKey(tt.Entry) || thief != nil {
				return nil
			}
			_, err := bus.AcquireLease(ctx, owners, tt.Entry, "thief", leaseTTL)
			var held *bus.HeldError
			if !errors.As(err, &held) || held.Holder != "node/sweeper" {
				t.Errorf("the lease while expiring: %v", err)
				return nil
			}
			if thief, err = bus.StealLease(ctx, owners, tt.Entry, "thief", leaseTTL, held.Revision); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second) // until the sweeper knows
			return ctx.Err()
		}
		if rep := r.sweep(s); rep.expired != 0 {
			t.Error("expired without the lease")
		}
		r.store.Before = nil
		if n := len(r.keys(folder)); n != 6 {
			t.Errorf("%d objects are left of 6", n)
		}
		if err := thief.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rep := r.sweep(s); rep.expired != 1 {
			t.Errorf("report %+v", rep)
		}
		if _, err := owners.Get(t.Context(), tt.Entry); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("the lease is still there: %v", err)
		}
	})
}

// watched counts listings of media, one a sweep.
type watched struct {
	storage.Store
	lists *atomic.Int32
}

func (w *watched) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	if prefix == "kLive/" {
		w.lists.Add(1)
	}
	return w.Store.List(ctx, prefix, after, limit)
}
