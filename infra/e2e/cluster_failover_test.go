package e2e

import (
	"path"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
)

// TestClusterPrimaryPulled pulls the cable of the primary encoder while a backup sends to
// another gateway: nobody hears of an end, there is silence.
func TestClusterPrimaryPulled(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	cable := fault.NewRelay(t, c.gateways[0].rtmp)
	primary := strings.Replace(c.gateways[0].ingest(demo, 0), c.gateways[0].rtmp, cable.Addr(), 1)
	backup := lightEncoder(t, c.gateways[1].ingest(demo, 1))
	s := c.airAt("the primary encoder is pulled", primary)
	s.fault("primary pulled")
	cable.Hang()
	pulled := time.Now()
	s.await(uint64(length(8, 4)))
	backup.Stop()
	for _, v := range s.viewers {
		v.Stop()
		if err := v.Err(); err != nil {
			t.Error(err)
		}
		s.switched(v, pulled)
	}
	s.stalls(3 * time.Second)
	s.undisturbed()
}

// switched holds what a viewer saw around the switch: the backup's first segment begins with
// a discontinuity, comes within 3 s of the moment when the primary's next was due, and no
// stretch of one feed has a hole.
func (s *show) switched(v *check.Viewer, pulled time.Time) {
	s.t.Helper()
	items := v.Items()
	var switches int
	for i := 1; i < len(items); i++ {
		before, it := items[i-1], items[i]
		if feedOf(before) == feedOf(it) {
			continue
		}
		switches++
		if !it.Discontinuity {
			s.t.Errorf("%s: segment %d is another feed's without a discontinuity", v.Name, it.Seq)
		}
		due := before.FirstListed.Add(it.Duration)
		if before.FirstListed.Before(pulled) {
			s.table.Add(v.Name+": backup's first segment after it was due", it.FirstListed.Sub(due), "≤ 3s")
			s.table.Add(v.Name+": media time left out at the switch", it.Time.Sub(before.Time.Add(before.Duration)), "")
		}
	}
	if switches != 1 {
		s.t.Errorf("%s: %d switches of feeds, want 1", v.Name, switches)
	}
	for i := range items {
		units := items[i].Units
		if i > 0 && feedOf(items[i]) == feedOf(items[i-1]) {
			units = append(items[i-1].Units[len(items[i-1].Units)-1:], units...)
		}
		for j := 1; j < len(units); j++ {
			if !units[j].Marked || units[j].Number != units[j-1].Number+1 {
				s.t.Errorf("%s: segment %d: frame %d follows %d", v.Name, items[i].Seq, units[j].Number, units[j-1].Number)
			}
		}
	}
}

// feedOf is the epoch in a segment's name: <start>-<epoch>.
func feedOf(it check.Item) string {
	name := strings.TrimSuffix(path.Base(it.URI), path.Ext(it.URI))
	_, epoch, _ := strings.Cut(name, "-")
	return epoch
}
