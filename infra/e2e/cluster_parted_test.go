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
	parted, cables := fault.NewNamespace(t, 2)
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

// TestClusterGatewayParted pulls the cable between the gateway of an encoder and the bus, for
// less than a gateway keeps what the bus has not taken, and than its silence lets others take
// it for dead. Nothing is lost, and nobody takes it for the end of the publish.
func TestClusterGatewayParted(t *testing.T) {
	beside(t)
	parted, cables := fault.NewNamespace(t, 2)
	toBus, toOthers := cables[0], cables[1]
	ingest := toOthers.There + ":1935"
	c := startCluster(t, shape{
		gateways: 1, settings: clusterSegments, busHost: toBus.Here, s3Host: toOthers.Here,
		of: map[string][]string{"gateway-1": {"rtmp.listen=" + ingest}},
		in: func(name string) *fault.Namespace {
			if name == "gateway-1" {
				return parted
			}
			return nil
		},
		admin: func(name string) string {
			switch name {
			case "gateway-1":
				return toOthers.There + ":8081"
			case "control": // which the gateway asks
				return fault.PortsOn(t, toOthers.Here, 1)[0]
			}
			return ""
		},
	})
	c.gateways[0].rtmp = ingest
	s := c.air("a gateway is parted from the bus")
	for _, cut := range []time.Duration{5 * time.Second, 9 * time.Second} {
		s.during(cut, "the gateway's cable to the bus is pulled for "+cut.String(), toBus.Down, toBus.Up)
		s.await(uint64(length(3, 3+cut/time.Second))) // what waited behind the cable, and some that did not
	}
	if lines := c.gateways[0].Said("parts were dropped"); len(lines) > 0 {
		t.Errorf("the gateway lost parts: %v", lines)
	}
	if breaks := s.finish(); breaks > 0 || len(s.encoder.Connects()) != 1 {
		t.Errorf("the encoder noticed: %+v", s.encoder.Connects())
	}
	for _, v := range s.viewers {
		for _, it := range v.Items() {
			if it.Gap || it.Discontinuity {
				t.Errorf("%s: segment %d is a gap (%v), or begins anew (%v)", v.Name, it.Seq, it.Gap, it.Discontinuity)
			}
		}
	}
	// A segment may be due right when the cable goes, and the gateway has to connect again.
	s.stalls(10 * time.Second)
	s.undisturbed()
}
