package e2e

import (
	"testing"
	"time"

	"klive/infra/check/fault"
)

// TestClusterOwnerParted pulls the cable between the owner and the bus; the owner still
// reaches the store. Another worker takes the entry, and what the owner goes on to write is
// refused.
func TestClusterOwnerParted(t *testing.T) {
	beside(t)
	parted, cables := fault.NewNamespace(t, "10.251.1", "10.251.2")
	toBus, toStore := cables[0], cables[1]
	c := startCluster(t, shape{
		workers: 1, settings: clusterSegments, busHost: toBus.Here, s3Host: toStore.Here,
		in: func(name string) *fault.Namespace {
			if name == "worker-1" {
				return parted
			}
			return nil
		},
		admin: func(name string) string {
			switch name {
			case "worker-1":
				return toStore.There + ":8081"
			case "control": // which the worker asks
				return fault.PortsOn(t, toStore.Here, 1)[0]
			}
			return ""
		},
	})
	s := c.air("the owner is parted from the bus")
	owner, other := c.workers[0], c.launch("worker-2", "worker")
	other.WaitReady()
	c.workers = append(c.workers, other)
	s.await(2)
	if now := c.owner(s.entry.ID); now != owner {
		t.Fatalf("%s has the entry already", now.Name)
	}
	s.during(length(30*time.Second, 8*time.Second), "the owner's cable to the bus is pulled", toBus.Down, toBus.Up)
	if now := c.owner(s.entry.ID); now != other {
		t.Errorf("nobody has taken the entry from %s", owner.Name)
	}
	s.await(4)
	s.finish()
	s.stalls(ownerStall)
	s.undisturbed()
	s.fenced(owner)
}
