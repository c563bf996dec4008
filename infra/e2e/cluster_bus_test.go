package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// busShards is bus.shards.
const busShards = 4

// TestClusterBusLeaderKilled kills the bus node that leads the entry's media, and then those
// that lead its lease and its timeline. It measures how long streams were without a leader
// beside what viewers saw of it.
func TestClusterBusLeaderKilled(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("the leader of a stream on the bus is killed")
	rest := length(30*time.Second, 4*time.Second)
	subjects := []struct{ name, subject string }{
		{"media", "klive.media.*.m." + s.entry.ID + ".>"},
		{"leases", "$KV.owners." + s.entry.ID},
		{"the timeline", "klive.log.timeline.tl." + s.entry.ID},
	}
	var outages []outage
	for round := range int(length(6, 2)) {
		what := subjects[round%len(subjects)]
		leader := c.leader(what.subject)
		begin := time.Now()
		outages = append(outages, s.elected(fmt.Sprintf("kill %d, %s", round+1, leader.Name), func() {
			s.fault("kill -9 %s (leads %s)", leader.Name, what.name)
			leader.Kill()
			s.ready(rest)
		}))
		if now := c.leader(what.subject); now == leader {
			t.Errorf("%s still leads the %s", leader.Name, what.name)
		}
		leader.Restart()
		c.whole()
		s.await(1)
		t.Logf("%s was away for %v", leader.Name, time.Since(begin).Round(time.Millisecond))
	}
	s.await(2)
	if breaks := s.finish(); breaks > 0 || len(s.encoder.Connects()) != 1 {
		t.Errorf("the encoder noticed: %+v", s.encoder.Connects())
	}
	// The servers elect a leader within 4 to 9 s; beside other clusters some elections take two rounds.
	s.stalls(length(10*time.Second, 30*time.Second))
	s.ownPart(outages)
	s.undisturbed()
}

// ready watches for a while whether all processes but bus nodes stay ready: a load balancer must
// not lose them all to an election. How long one takes is the machine's affair where tests run
// beside each other.
func (s *show) ready(d time.Duration) {
	unready := map[string]bool{}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		for _, m := range s.c.roles() {
			if s.c.ready(s.t.Context(), m.admin) != nil {
				unready[m.Name] = true
			}
		}
	}
	s.table.Add("not ready while a leader was elected", len(unready), "0")
	if proving() && len(unready) > 0 {
		s.t.Errorf("not ready while a leader was elected: %v", slices.Sorted(maps.Keys(unready)))
	}
}

// bus connects to one of the addresses, as a client of the bus.
func (c *cluster) bus(t testing.TB, urls ...string) *nats.Conn {
	t.Helper()
	var nc *nats.Conn
	eventually(t, 15*time.Second, "the bus", func() (err error) {
		nc, err = nats.Connect("nats://"+strings.Join(urls, ",nats://"), nats.UserInfo(busUser, busPassword))
		return err
	})
	return nc
}

// streams lists the bus's streams.
func (c *cluster) streams(ctx context.Context, js jetstream.JetStream) ([]*jetstream.StreamInfo, error) {
	list := js.ListStreams(ctx)
	var out []*jetstream.StreamInfo
	for info := range list.Info() {
		out = append(out, info)
	}
	return out, list.Err()
}

// leader is the bus node that leads the stream which keeps a subject.
func (c *cluster) leader(subject string) *member {
	c.t.Helper()
	var name string
	nc := c.bus(c.t, c.alive()...)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, 20*time.Second, "a leader of "+subject, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		infos, err := c.streams(ctx, js)
		if err != nil {
			return err
		}
		name = ""
		for _, info := range infos {
			// The one that has messages of the subject: shards take the same subjects.
			stream, err := js.Stream(ctx, info.Config.Name)
			if err != nil {
				return err
			}
			full, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
			if err != nil {
				return err
			}
			if len(full.State.Subjects) > 0 && full.Cluster != nil {
				name = full.Cluster.Leader
			}
		}
		if name == "" {
			return nats.ErrNoResponders
		}
		return nil
	})
	for _, b := range c.buses {
		if b.Running() && c.serverName(b) == name {
			return b
		}
	}
	c.t.Fatalf("no bus node is called %s", name)
	return nil
}

func (c *cluster) alive() []string {
	var out []string
	for _, b := range c.buses {
		if b.Running() {
			out = append(out, b.bus)
		}
	}
	return out
}

func (c *cluster) serverName(b *member) string {
	nc := c.bus(c.t, b.bus)
	defer nc.Close()
	return nc.ConnectedServerName()
}

// whole waits until every stream has as many copies as it should have, and all are up to date.
func (c *cluster) whole() {
	c.t.Helper()
	nc := c.bus(c.t, c.busURLs...)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, 60*time.Second, "all replicas", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		infos, err := c.streams(ctx, js)
		if err != nil || len(infos) == 0 {
			return nats.ErrNoStreamResponse
		}
		for _, info := range infos {
			if info.Cluster == nil || info.Cluster.Leader == "" {
				return fmt.Errorf("%s has no leader", info.Config.Name)
			}
			if n := len(info.Cluster.Replicas) + 1; n != c.shape.replicas {
				return fmt.Errorf("%s has %d copies", info.Config.Name, n)
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current || r.Offline {
					return fmt.Errorf("%s: the copy on %s is behind", info.Config.Name, r.Name)
				}
			}
		}
		return nil
	})
}
