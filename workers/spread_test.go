package workers

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/live"
)

// open puts the record of an open broadcast on the bus, as a dead owner leaves it.
func (w *world) open(entry string) {
	w.t.Helper()
	b, err := live.BroadcastRecord{ID: "left", Target: 4 * time.Second}.Marshal()
	if err == nil {
		_, err = w.broadcasts.Put(w.t.Context(), entry, b)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) owned() (out []int) {
	for _, p := range w.procs {
		share, _ := p.pool.Share()
		out = append(out, share.Owned)
	}
	return out
}

func (w *world) stopAll() {
	for _, p := range w.procs {
		p.stop()
	}
	w.ring.Close()
}

var manyEntries = []string{"0_aaaaaaa1", "0_aaaaaaa2", "0_aaaaaaa3", "0_aaaaaaa4", "0_aaaaaaa5", "0_aaaaaaa6", "0_aaaaaaa7", "0_aaaaaaa8", "0_aaaaaaa9"}

// TestOpenBroadcastsAreAdopted opens broadcasts that nobody owns while workers run.
func TestOpenBroadcastsAreAdopted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		for _, name := range []string{"a", "b", "c"} {
			w.start(name)
		}
		time.Sleep(4 * time.Second)
		for _, e := range manyEntries {
			w.open(e)
			time.Sleep(time.Second)
		}
		if got := w.owned(); slices.Min(got) != 3 || slices.Max(got) != 3 {
			t.Errorf("of nine entries the workers own %v", got)
		}
	})
}

// TestLoadIsSpread lets a worker join one that has all entries.
func TestLoadIsSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		w.start("a")
		time.Sleep(3 * time.Second)
		for _, e := range manyEntries[:6] {
			w.open(e)
		}
		time.Sleep(12 * time.Second)
		w.start("b")
		began, most := time.Now(), 0
		for time.Since(began) < 2*time.Minute {
			time.Sleep(100 * time.Millisecond)
			got := w.owned()
			if got[1] > most {
				most = got[1]
				if since := time.Since(began); since < time.Duration(most-1)*10*time.Second {
					t.Errorf("%d entries moved within %v", most, since)
				}
			}
		}
		if got := w.owned(); !slices.Equal(got, []int{3, 3}) {
			t.Errorf("the workers own %v", got)
		}
	})
}

// TestEntryStaysWhileStoreIsAway asks whether an entry may move whose owner can't write its head.
func TestEntryStaysWhileStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		var away atomic.Bool
		w.memory.Before = func(_ context.Context, op, key string) error {
			if op == "put" && !strings.HasSuffix(key, ".m4s") && away.Load() { // as with a spool, media are kept
				return errNever
			}
			return nil
		}
		a := w.start("a")
		time.Sleep(time.Second)
		published := make(chan struct{})
		go func() { defer close(published); w.publish(1, 60*time.Second) }()
		for _, gone := range []bool{false, true, false} {
			away.Store(gone)
			time.Sleep(16 * time.Second)
			a.pool.mu.Lock()
			o := a.pool.owners[entry]
			a.pool.mu.Unlock()
			if _, ok := o.movable(); ok == gone {
				t.Errorf("the store is away: %v; the entry may move: %v", gone, ok)
			}
		}
		<-published
	})
}

// TestEndingWorkerHandsOver ends the owner of a stream that goes on.
func TestEndingWorkerHandsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		a := w.start("a")
		time.Sleep(time.Second)
		published := make(chan struct{})
		go func() { defer close(published); w.publish(1, 40*time.Second) }()
		time.Sleep(5 * time.Second)
		w.start("b")
		time.Sleep(12 * time.Second)
		if e, ok := a.pool.Owned()[entry]; !ok || e.Error != nil || e.MovingTo != "" || time.Since(e.Since) < 10*time.Second {
			t.Errorf("a has the entry: %v, %+v", ok, e)
		}
		began := time.Now()
		a.stop()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("a took %v to end", d)
		}
		time.Sleep(100 * time.Millisecond)
		if w.holder() != "b" {
			t.Errorf("%q owns the entry", w.holder())
		}
		<-published
		time.Sleep(4 * time.Minute)
		s := w.state()
		w.continuous(s.Current(), 11)
		w.expect("6s register 0_demolive 0 status=2", "17s register 0_demolive 0 status=1", "21s register 0_demolive 0 status=1", "46s unregister 0_demolive 0 status=0")
	})
}

// TestLastWorkerTellsWhatItsEndMeans: the entries of an ending worker go to others without a word of warning; with nobody
// there to take them it says what viewers get.
func TestLastWorkerTellsWhatItsEndMeans(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, log := newWorld(t), &lines{}
		w.logs = log
		defer w.stopAll()
		a, b := w.start("a"), w.start("b")
		time.Sleep(time.Second)
		published := make(chan struct{})
		go func() { defer close(published); w.publish(1, 30*time.Second) }()
		time.Sleep(10 * time.Second)
		if w.holder() == "b" {
			a, b = b, a
		}
		const warning = "no other worker is there to take the live entries"
		for i, p := range []*process{a, b} {
			p.stop()
			if n := log.count(warning); n != i {
				t.Errorf("after the end of %d workers it is said %d times", i+1, n)
			}
			time.Sleep(4 * time.Second)
		}
		<-published
	})
}

// TestKilledWorkerIsReplaced measures how long a stream has no owner.
func TestKilledWorkerIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		a := w.start("a")
		time.Sleep(time.Second)
		go w.publish(1, 30*time.Second)
		time.Sleep(5 * time.Second)
		w.start("b")
		time.Sleep(7200 * time.Millisecond)
		if w.holder() != "a" {
			t.Fatalf("%q owns the entry", w.holder())
		}
		epoch, killed := w.state().Epoch, time.Now()
		a.kill()
		for w.state().Epoch == epoch && time.Since(killed) < 5*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(killed); d > 3*time.Second {
			t.Errorf("taken over after %v", d)
		} else {
			t.Logf("taken over after %v", d)
		}
		time.Sleep(4 * time.Minute)
		if s := w.state(); !s.Current().Ended || s.Epoch != epoch+1 {
			t.Errorf("ended %v, epoch %d", s.Current().Ended, s.Epoch)
		}
	})
}
