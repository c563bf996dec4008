package whip

import (
	"math"
	"runtime"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/publisher"
)

// TestCycles connects and disconnects over and over, in order and without a word: nothing is
// left of it.
func TestCycles(t *testing.T) {
	cycles := check.Length(1000, 30)
	r := newRig(t, nil)
	c := clip(t, func(s *publisher.Synthetic) { s.Width, s.Height = 64, 64 })
	one := func(n int) {
		w := r.mustDial(nil)
		feed := r.gw.Sessions()[0].Feed
		defer func() { // what it brought is not the server's to keep
			r.ring.Release(feed.Subject(), math.MaxUint64)
			r.mu.Lock()
			r.log.Reset()
			r.mu.Unlock()
		}()
		if err := w.Play(t.Context(), publisher.WHIPPlay{Clip: c, Limit: 40 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if n%4 == 3 {
			w.Vanish()
			r.wait("the end of one that vanished", func() bool { return r.onAir() == 0 })
			return
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	measure := func() (routines int, heap uint64) {
		r.client.CloseIdleConnections()
		var m runtime.MemStats
		for range 20 { // until what ends has ended
			runtime.GC()
			runtime.ReadMemStats(&m)
			time.Sleep(20 * time.Millisecond)
		}
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	for n := range 5 {
		one(n)
	}
	routines, heap := measure()
	for n := range cycles {
		one(n)
	}
	r.wait("the end of what the cycles began", func() bool {
		r.client.CloseIdleConnections()
		return runtime.NumGoroutine() <= routines+4
	})
	after, held := measure()
	t.Logf("%d cycles: %d goroutines before and %d after, %d KB of heap before and %d after", cycles, routines, after, heap>>10, held>>10)
	if after > routines+4 {
		t.Errorf("%d goroutines before, %d after", routines, after)
	}
	if held > heap+2<<20 {
		t.Errorf("%d KB of heap before, %d after", heap>>10, held>>10)
	}
}
