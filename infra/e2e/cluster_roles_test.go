package e2e

import (
	"strings"
	"testing"
	"time"
)

// rolesKilledStall is how late a segment may come when roles are killed: the bus elects in up to ten
// seconds, and an owner may die in that.
const rolesKilledStall = 15 * time.Second

// TestClusterRolesKilled kills a process of each role in turn, and then two of different roles at once,
// each as the kernel does. The broadcast stays one, and nothing is missing but what the encoder did
// not send again.
func TestClusterRolesKilled(t *testing.T) {
	proveOnly(t) // TestClusterOwnerKilled and the others have short forms
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("kill -9 of each role, and of two at once")
	for _, choose := range []func() []*member{
		func() []*member { return []*member{s.holder()} },
		func() []*member { return []*member{c.owner(s.entry.ID)} },
		func() []*member { return []*member{c.origins[0]} },
		func() []*member { return []*member{c.control} },
		func() []*member { return []*member{c.leader("klive.media.*.m." + s.entry.ID + ".>")} },
		func() []*member { return []*member{s.holder(), c.owner(s.entry.ID)} },
		func() []*member { return []*member{c.origins[1], c.control} },
		func() []*member { return []*member{c.buses[0], c.owner(s.entry.ID)} },
		func() []*member { return []*member{c.buses[1], s.holder()} },
	} {
		s.killed(choose()...)
	}
	s.inTime()
	s.finish()
	s.stalls(rolesKilledStall)
	s.fenced(nil)
}

// holder is the gateway that the encoder is connected to, or was last.
func (s *show) holder() *member {
	s.t.Helper()
	connects := s.encoder.Connects()
	for _, g := range s.c.gateways {
		if strings.Contains(connects[len(connects)-1].URL, g.rtmp) {
			return g
		}
	}
	s.t.Fatalf("no gateway is at %s", connects[len(connects)-1].URL)
	return nil
}

// killed kills processes at once, starts them again three seconds later, as whoever looks after them
// does, and waits until viewers have seen more.
func (s *show) killed(members ...*member) {
	s.t.Helper()
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name
	}
	s.fault("kill -9 %s", strings.Join(names, " and "))
	for _, m := range members {
		m.Kill()
	}
	time.Sleep(3 * time.Second)
	for _, m := range members {
		m.Relaunch()
	}
	for _, m := range members {
		m.WaitReady()
	}
	s.c.whole()
	s.await(3)
}
