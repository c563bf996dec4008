package workers

import (
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// TestBusLosesItsData takes everything from the bus under a stream that goes on. The lease is
// gone with it, somebody takes the entry anew, and no number goes back.
func TestBusLosesItsData(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stopAll()
		a, b := w.start("a"), w.start("b")
		time.Sleep(3 * time.Second)
		published := make(chan struct{})
		go func() { defer close(published); w.publish(1, 60*time.Second) }()
		time.Sleep(20 * time.Second)
		before := w.state()
		bustest.Lose(t, w.node)
		time.Sleep(time.Second)
		for _, c := range []*bus.Control{a.control, b.control, w.node.Control()} { // as their nodes do
			if _, err := c.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		lost := time.Now()
		for w.holder() == "" && time.Since(lost) < 20*time.Second {
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("owned again after %v", time.Since(lost))
		if time.Since(lost) > 10*time.Second {
			t.Error("nobody took the entry for 10 s")
		}
		time.Sleep(5 * time.Second)
		for _, p := range w.procs {
			if l, ok := p.pool.leases.get(entry); !ok || l.holder != w.holder() {
				t.Errorf("%s sees %q (%v) as the holder, it is %q", p.name, l.holder, ok, w.holder())
			}
		}
		for _, p := range w.procs { // and silence is heard as before
			if p.name == w.holder() {
				p.kill()
				break
			}
		}
		<-published
		time.Sleep(4 * time.Minute)
		s := w.state()
		if s.Epoch <= before.Epoch+1 || s.NextSeq <= before.NextSeq || s.Current().ID != before.Current().ID || !s.Current().Ended {
			t.Errorf("epoch %d after %d, next %d after %d, broadcast %s after %s, ended %v", s.Epoch, before.Epoch,
				s.NextSeq, before.NextSeq, s.Current().ID, before.Current().ID, s.Current().Ended)
		}
		w.continuous(s.Current(), 16)
	})
}
