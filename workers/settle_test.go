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

// waiting starts two workers. The first waits for the API, which went away in the broadcast and stays so for
// four minutes more, to take the registration back; the second stands by.
func (w *world) waiting() (a, b *process) {
	w.t.Helper()
	a = w.start("a")
	time.AfterFunc(14*time.Second, func() { w.away(9 * time.Minute) })
	time.Sleep(4 * time.Second)
	w.publish(1, 12*time.Second)
	b = w.start("b")
	time.Sleep(5 * time.Minute)
	if holder := w.holder(); holder != a.name {
		w.t.Fatalf("the entry is held by %q", holder)
	}
	return a, b
}

// A worker that ends, or is killed, while it waits for the API leaves the waiting to another one.
func TestRegistrationIsHandedOver(t *testing.T) {
	for name, end := range map[string]func(*process){"ended": (*process).stop, "killed": (*process).kill} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.stopAll()
				a, b := w.waiting()
				begin := time.Now()
				end(a)
				time.Sleep(5 * time.Second)
				if holder := w.holder(); holder != b.name || time.Since(begin) > 6*time.Second {
					t.Errorf("after %v the entry is held by %q", time.Since(begin), holder)
				}
				time.Sleep(9 * time.Minute)
				w.house.mu.Lock()
				defer w.house.mu.Unlock()
				n := 0
				for _, call := range w.calls {
					if strings.HasPrefix(call, "9m") || strings.HasPrefix(call, "10m") {
						n++
					}
				}
				if last := w.calls[len(w.calls)-1]; n != 1 || !strings.Contains(last, " unregister ") {
					t.Errorf("%d calls when the API was back, the last is %s", n, last)
				}
			})
		})
	}
}

// A worker that has lost the entry while it waited for the API stands by for it: who has taken the entry
// may not live to see the API again.
func TestRegistrationOutlivesTwoWorkers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		a, b := w.waiting()
		a.part()
		time.Sleep(8 * time.Second)
		a.join()
		time.Sleep(20 * time.Second)
		if holder := w.holder(); holder != b.name {
			t.Fatalf("the entry is held by %q", holder)
		}
		b.kill()
		time.Sleep(6 * time.Second)
		if holder := w.holder(); holder != a.name {
			t.Errorf("the entry is held by %q", holder)
		}
		time.Sleep(9 * time.Minute)
		w.house.mu.Lock()
		defer w.house.mu.Unlock()
		if last := w.calls[len(w.calls)-1]; !strings.Contains(last, " unregister ") || !strings.HasPrefix(last, "9m") && !strings.HasPrefix(last, "10m") {
			t.Errorf("the last call is %s", last)
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
