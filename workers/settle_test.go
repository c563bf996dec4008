package workers

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/live"
)

// A broadcast that ends while the API is away is unregistered when the API is back, and the
// next one does not wait for that.
func TestUnregisterIsMadeGood(t *testing.T) {
	for name, again := range map[string]bool{"nothing follows": false, "a broadcast follows": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t)
				defer h.ring.Close()
				defer h.pool("a")()
				time.AfterFunc(8*time.Second, func() { h.away(12 * time.Minute) })
				h.publish(1, 10*time.Second)
				time.Sleep(5 * time.Minute) // the broadcast is over by now
				first := h.state().Current()
				if first == nil || !first.Ended {
					t.Fatalf("the broadcast is not over: %+v", first)
				}
				if again {
					h.publish(2, 20*time.Second)
					if b := h.state().Current(); b == nil || b.ID == first.ID || b.Ended || len(b.Items) < 5 {
						t.Errorf("the second broadcast is not on the air: %+v", b)
					}
				}
				time.Sleep(15 * time.Minute)
				h.mu.Lock()
				defer h.mu.Unlock()
				last := h.calls[len(h.calls)-1]
				if !strings.Contains(last, " unregister ") || !strings.HasPrefix(last, "12m") {
					t.Errorf("the last call is %s", last)
				}
			})
		})
	}
}

// A registration that a worker could not take back before it ended is taken back by the next
// one, though the broadcast is over and nobody publishes.
func TestRegistrationOutlivesItsWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		stop := h.pool("a")
		time.AfterFunc(8*time.Second, func() { h.away(20 * time.Minute) })
		h.publish(1, 10*time.Second)
		time.Sleep(5 * time.Minute)
		if b := h.state().Current(); b == nil || !b.Ended {
			t.Fatalf("the broadcast is not over: %+v", b)
		}
		stop()
		time.Sleep(12 * time.Minute)
		stop = h.pool("b")
		time.Sleep(5 * time.Minute)
		h.mu.Lock()
		last, n := h.calls[len(h.calls)-1], len(h.calls)
		h.mu.Unlock()
		if !strings.Contains(last, " unregister 0_demolive 0") || !strings.HasPrefix(last, "20m") {
			t.Errorf("the last call is %s", last)
		}
		if holder := h.holder(); holder != "" {
			t.Errorf("%s still holds the entry", holder)
		}
		// Nothing is left for a third one.
		stop()
		defer h.pool("c")()
		time.Sleep(5 * time.Minute)
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.calls) != n {
			t.Errorf("calls %v", h.calls[n:])
		}
	})
}

// What Kaltura says of the entry with a registration holds for feeds that were admitted before
// (row 49).
func TestRegistrationRefreshesTheEntry(t *testing.T) {
	o := newOwner(&Pool{Config: Config{Log: slog.New(slog.DiscardHandler), MaxDVR: time.Hour}}, entry)
	now := time.Now()
	record := live.FeedRecord{Grant: live.Grant{Entry: entry, PartnerID: 102, At: now.Add(-time.Minute), Record: 1}}
	if got := o.current(record).Grant; got.Record != 1 || got.DVRWindow != 0 {
		t.Errorf("before: %+v", got)
	}
	o.refresh(live.EntryFacts{DVR: true, DVRWindow: 2 * time.Hour, Record: 2, RecordedEntryID: "0_recorded1", Started: true})
	want := live.Grant{Entry: entry, PartnerID: 102, At: record.Grant.At, DVR: true, DVRWindow: time.Hour, Record: 2, RecordedEntryID: "0_recorded1"}
	if d := cmp.Diff(want, o.current(record).Grant); d != "" {
		t.Errorf("afterwards (-want +got):\n%s", d)
	}
	record.Grant.At = time.Now().Add(time.Minute)
	if got := o.current(record).Grant; got.Record != 1 {
		t.Errorf("a grant that came later: %+v", got)
	}
}
