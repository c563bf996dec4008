package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestClusterRollingRestart upgrades a deployment on the air. All processes begin as the
// release before this one and are restarted in turn as this one, so that all mixtures of the
// two share the bus and the bucket. A test that is not held to its stated length begins with
// half of them, and the workers, and restarts the owner and one of each role.
func TestClusterRollingRestart(t *testing.T) {
	beside(t)
	now, before := theProgram.build(t), previousProgram.build(t)
	first := func(name string) bool { return proving() || strings.HasSuffix(name, "-1") || name == "control" }
	old := func(name string) bool { return first(name) || strings.HasPrefix(name, "worker") }
	c := startCluster(t, shape{
		settings: append(slices.Clone(clusterSegments), recordedSoon...),
		binary: func(name string) string {
			if old(name) {
				return before
			}
			return now
		},
	})
	s := c.air("a rolling restart from the release before this one")
	// Who has the stream goes first among the workers, and its gateway first of all roles.
	for _, m := range slices.Concat(c.gateways, c.workers, c.origins, []*member{c.control}, c.buses) {
		if m == c.workers[0] {
			s.upgrade(c.owner(s.entry.ID), now)
		}
		if first(m.Name) && m.Path != now {
			s.upgrade(m, now)
		}
	}
	s.await(2)
	breaks := s.finish()
	cut := 0
	for _, c := range s.encoder.Connects() {
		if c.Err != nil {
			cut++
		}
	}
	s.table.Add("connections that a gateway's restart cut", cut, "")
	if cut == 0 && breaks > 0 {
		t.Errorf("%d frames are lost, but no connection broke", breaks)
	}
	s.stalls(10 * time.Second)
	s.vod()
}

// upgrade restarts one process in order, as another program.
func (s *show) upgrade(m *member, path string) {
	s.t.Helper()
	owner := s.c.owner(s.entry.ID) == m
	s.fault("restart of %s", m.Name)
	took, err := m.Terminate(45 * time.Second)
	if err != nil {
		s.t.Errorf("%v\n%s", err, m.Tail(15))
	}
	what := m.Name + " ended after SIGTERM in"
	if owner {
		what = m.Name + " (owner) ended after SIGTERM in"
	}
	s.table.Add(what, took, "")
	m.Path = path
	m.Restart()
	if slices.Contains(s.c.buses, m) {
		s.c.whole()
	}
	s.await(2)
}
