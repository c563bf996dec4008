package e2e

import (
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// TestClusterWithoutBus starts everything before there is a bus: each process says what it
// waits for, is not ready, and becomes ready by itself.
func TestClusterWithoutBus(t *testing.T) {
	beside(t)
	c := newCluster(t, shape{settings: clusterSegments, gateways: 1, workers: 1, origins: 1})
	c.startStore()
	c.control = c.launch("control", "control")
	c.origins = []*member{c.launch("origin-1", "origin")}
	c.workers = []*member{c.launch("worker-1", "worker")}
	c.gateways = []*member{c.launch("gateway-1", "gateway")}
	for _, m := range c.roles() {
		eventually(t, 15*time.Second, m.Name+" to say that it waits for the bus", func() error { return m.says("waiting for", "bus") })
		if err := c.ready(t.Context(), m.admin); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s without a bus: %v", m.Name, err)
		}
		if !m.Running() {
			t.Errorf("%s has ended", m.Name)
		}
	}
	begin := time.Now()
	c.startBuses()
	for _, m := range c.roles() {
		m.WaitReady()
	}
	t.Logf("all were ready %v after the bus began to start", time.Since(begin).Round(time.Millisecond))
	s := c.air("the bus comes last")
	s.finish()
}

// says returns an error while no line of the log holds all the words.
func (m *member) says(words ...string) error {
	if len(m.Said(words...)) == 0 {
		return errSilent
	}
	return nil
}

// TestClusterBusPassword gives a worker the wrong password: it says so without showing it,
// and goes on asking.
func TestClusterBusPassword(t *testing.T) {
	beside(t)
	const wrong = "a-wrong-password"
	c := newCluster(t, shape{buses: 1, gateways: 1, workers: 2, origins: 1, of: map[string][]string{"worker-2": {"bus.password=" + wrong}}})
	c.startStore()
	c.startBuses()
	c.control = c.launch("control", "control")
	w := c.launch("worker-2", "worker")
	eventually(t, 20*time.Second, "the worker to say what is wrong", func() error { return w.says("bus.user", "bus.password") })
	if err := c.ready(t.Context(), w.admin); err == nil {
		t.Error("a worker that the bus does not let in is ready")
	}
	for _, m := range []*member{w, c.control} {
		if len(m.Said(wrong))+len(m.Said(busPassword)) > 0 {
			t.Errorf("%s shows a password", m.Name)
		}
	}
	c.control.WaitReady()
}

// TestClusterBusLost takes the whole bus away: for 5 s, which nobody may notice in the
// frames, and for longer than gateways keep what the bus has not taken. What is lost then is
// said, and is all that is lost.
func TestClusterBusLost(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("the bus is lost")
	freeze := func() {
		for _, b := range c.buses {
			b.Stop()
		}
	}
	thaw := func() {
		for _, b := range c.buses {
			b.Continue()
		}
	}
	s.during(5*time.Second, "bus lost for 5 s", freeze, thaw)
	s.await(3)
	for _, g := range c.gateways {
		if lines := g.Said("parts were dropped"); len(lines) > 0 {
			t.Errorf("5 s without a bus cost parts: %v", lines)
		}
	}
	if !proving() {
		s.finish()
		return
	}
	s.during(60*time.Second, "bus lost for 60 s", freeze, thaw)
	s.await(6)
	s.encoder.Stop()
	sent := s.encoder.Sent()
	f := s.archive("origin-1", c.origins[0].playlist(s.entry.ID, true), sent)
	a := f.Audit(sent)
	s.table.AddAudit("DVR", a)
	said := 0
	for _, g := range c.gateways {
		said += len(g.Said("parts were dropped"))
	}
	marks := 0
	for _, it := range f.Main().Items {
		if it.Gap || it.Discontinuity {
			marks++
		}
	}
	s.table.Add("gateway: lines about dropped parts", said, "")
	s.table.Add("DVR: gaps and discontinuities", marks, "")
	if len(a.Video.Lost) == 0 || said == 0 || marks == 0 {
		t.Errorf("of %d lost pictures %d lines tell, and %d marks in the playlist", len(a.Video.Lost), said, marks)
	}
	s.oneHole(a.Video, sent, media.Video)
	if n := len(a.Video.Doubled) + len(a.Video.Disordered) + len(a.Audio.Doubled) + len(a.Audio.Disordered); n > 0 {
		t.Errorf("%d frames doubled or out of order:\n%v", n, a)
	}
	if cs := s.encoder.Connects(); len(cs) != 1 {
		t.Errorf("the encoder noticed: %+v", cs)
	}
}

// oneHole says that the lost units are one run: what the longest fault cost.
func (s *show) oneHole(a check.TrackAudit, sent []check.Sent, kind media.Kind) {
	s.t.Helper()
	holes := 0
	for i, n := range a.Lost {
		if i == 0 || n != a.Lost[i-1]+1 {
			holes++
		}
	}
	if holes > 1 {
		s.t.Errorf("%v: the %d lost units of %d lie in %d holes, want one", kind, len(a.Lost), a.Sent, holes)
	}
}
