package e2e

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// apart is how much later the second of two encoders begins.
const apart = 700 * time.Millisecond

// failoverStall is how long viewers may wait when the primary encoder is pulled.
const failoverStall = 3 * time.Second

// TestClusterPrimaryPulled pulls the cable of the primary encoder while a backup sends to
// another gateway: nobody hears of an end, there is silence.
func TestClusterPrimaryPulled(t *testing.T) {
	proveOnly(t) // TestClusterBackupOfAnotherProtocol has a short form
	pullPrimary(t, func(c *cluster) (stop func()) { return lightEncoder(t, c.gateways[1].ingest(demo, 1)).Stop })
}

// backups play an MPEG-TS file to a gateway, as the backup encoder of the demo entry.
var backups = map[string]func(t *testing.T, g *member, file string) *tooling{
	"srt": func(t *testing.T, g *member, file string) *tooling {
		return run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts",
			"srt://"+g.srt+"?streamid="+url.QueryEscape("#:::e="+demo.ID+",st=1,p="+demo.Token))
	},
	"push": func(t *testing.T, g *member, file string) *tooling {
		return run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts", "-method", "POST",
			fmt.Sprintf("http://%s/ingest/%s_1?p=102&i=1&t=%s", g.http, demo.ID, demo.Token))
	},
}

// TestClusterBackupOfAnotherProtocol does the same when the primary comes over RTMP and the backup
// over SRT or HTTP, by a clock of its own: viewers see one playlist.
func TestClusterBackupOfAnotherProtocol(t *testing.T) {
	beside(t)
	protocols := []string{"srt"}
	if proving() {
		protocols = append(protocols, "push")
	}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			file, _ := transportFile(t, demoClip(t, publisher.Synthetic{GOP: clusterGOP, BFrames: 2}), 4*time.Minute)
			pullPrimary(t, func(c *cluster) (stop func()) { return backups[protocol](t, c.gateways[1], file).kill })
		})
	}
}

// pullPrimary pulls the primary encoder while a backup sends that began 700 ms after it. At its
// stated length it plugs it in again, and viewers get the primary back.
func pullPrimary(t *testing.T, backup func(c *cluster) (stop func())) {
	t.Helper()
	c := startCluster(t, shape{settings: clusterSegments})
	cable := fault.NewRelay(t, c.gateways[0].rtmp)
	s := c.airAt("the primary encoder is pulled", strings.Replace(c.gateways[0].ingest(demo, 0), c.gateways[0].rtmp, cable.Addr(), 1))
	time.Sleep(clusterGOP - time.Since(s.encoder.Connects()[0].At)%clusterGOP + apart)
	stop := backup(c)
	eventually(t, 30*time.Second, "the backup to be on the air", func() error {
		if len(c.gateways[1].Said("on the air")) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	s.await(2)
	s.fault("primary pulled")
	cable.Hang()
	switches := 1
	s.await(uint64(length(8, 4)))
	if proving() {
		s.fault("primary plugged in")
		if err := cable.Pass(); err != nil {
			t.Fatal(err)
		}
		switches++
		eventually(t, time.Minute, "the primary again", func() error {
			if n := len(epochs(s.viewers[0].Items())); n <= switches {
				return fmt.Errorf("%d feeds have been seen", n)
			}
			return nil
		})
		s.await(2)
	}
	stop()
	for _, v := range s.viewers {
		v.Stop()
		if err := v.Err(); err != nil {
			t.Error(err)
		}
		s.switched(v, switches)
	}
	s.stalls(failoverStall)
	s.undisturbed()
}

// TestClusterEncodersFlap pulls and plugs the primary encoder every five seconds for a minute, then
// the backup, then both: viewers are not thrown to and fro, and are back within two keyframe
// intervals of an encoder. TestScenarios/feeds-flapping and feeds-both-pulled are its short form.
func TestClusterEncodersFlap(t *testing.T) {
	proveOnly(t)
	c := startCluster(t, shape{settings: clusterSegments})
	var cables [2]*fault.Relay
	var ways [2]string
	for i, g := range c.gateways {
		cables[i] = fault.NewRelay(t, g.rtmp)
		ways[i] = strings.Replace(g.ingest(demo, i), g.rtmp, cables[i].Addr(), 1)
	}
	s := c.airAt("encoders come and go", ways[0])
	time.Sleep(apart)
	backup := lightEncoder(t, ways[1])
	s.await(2)
	plug := func(i int) {
		if err := cables[i].Pass(); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"primary flaps", "backup flaps"} {
		s.fault("%s", name)
		for range int(length(6, 1)) {
			cables[i].Refuse()
			time.Sleep(5 * time.Second)
			plug(i)
			time.Sleep(5 * time.Second)
		}
	}
	s.await(5) // the primary is back, and stays
	calm := s.viewers[0].Items()
	for _, v := range s.viewers {
		s.farApart(v)
	}

	s.fault("both are pulled")
	cables[0].Refuse()
	cables[1].Refuse()
	pulled := time.Now()
	time.Sleep(12 * time.Second)
	plug(0)
	plug(1)
	s.await(3)
	s.back(calm, pulled, backup)
	backup.Stop()
	for _, v := range s.viewers {
		v.Stop()
		if err := v.Err(); err != nil {
			t.Error(err)
		}
		s.seamless(v)
	}
	s.undisturbed()
}

// farApart holds that viewers were switched at most once in ten seconds, a moment aside by which one
// segment may be listed sooner than another.
func (s *show) farApart(v *check.Viewer) {
	s.t.Helper()
	at, items := []time.Time{}, v.Items()
	for i := 1; i < len(items); i++ {
		if feedOf(items[i]) != feedOf(items[i-1]) {
			at = append(at, items[i].Time)
		}
	}
	closest := time.Hour
	for i := 1; i < len(at); i++ {
		closest = min(closest, at[i].Sub(at[i-1]))
	}
	s.table.Add(v.Name+": switches while encoders flapped", len(at), "")
	s.table.Add(v.Name+": closest of them", closest, "≥ 10s")
	if len(at) == 0 || closest < 10*time.Second {
		s.t.Errorf("%s: %d switches, the closest %v apart", v.Name, len(at), closest)
	}
}

// back holds that viewers have a segment within two keyframe intervals of the first picture that an
// encoder sends again, and what a segment takes to be listed.
func (s *show) back(calm []check.Item, pulled time.Time, backup *check.Light) {
	s.t.Helper()
	var returned time.Time
	for _, e := range []*check.Light{s.encoder, backup} {
		for _, c := range e.Connects() {
			if c.At.After(pulled) && (returned.IsZero() || c.At.Before(returned)) {
				returned = c.At
			}
		}
	}
	usual := check.MeasureStalls(calm, nil).Median
	for _, v := range s.viewers {
		seen := epochs(calm)
		for _, it := range v.Items() {
			if it.FirstListed.Before(pulled) || seen[feedOf(it)] {
				continue
			}
			took := it.FirstListed.Sub(returned)
			s.table.Add(v.Name+": first segment after an encoder's first picture", took, fmt.Sprintf("≤ %v + %v", 2*clusterGOP, usual.Round(time.Millisecond)))
			if returned.IsZero() || took > 2*clusterGOP+usual+500*time.Millisecond {
				s.t.Errorf("%s: the first segment came %v after an encoder's first picture", v.Name, took)
			}
			s.promise.Recovery = max(s.promise.Recovery, took)
			break
		}
	}
}

// epochs are the feeds that items come from.
func epochs(items []check.Item) map[string]bool {
	out := map[string]bool{}
	for _, it := range items {
		out[feedOf(it)] = true
	}
	return out
}

// switched holds what a viewer saw around so many switches: each begins with a discontinuity, leaves
// out one keyframe interval at most, and comes in time.
func (s *show) switched(v *check.Viewer, want int) {
	s.t.Helper()
	items, switches := v.Items(), 0
	for i := 1; i < len(items); i++ {
		before, it := items[i-1], items[i]
		if feedOf(before) == feedOf(it) {
			continue
		}
		switches++
		hole := it.Time.Sub(before.Time.Add(before.Duration))
		s.table.Add(fmt.Sprintf("%s: switch %d: segment after it was due", v.Name, switches), it.FirstListed.Sub(before.FirstListed.Add(it.Duration)), "≤ "+failoverStall.String())
		s.table.Add(fmt.Sprintf("%s: switch %d: media time left out", v.Name, switches), hole, "≤ "+clusterGOP.String())
		if hole > clusterGOP+timeSlip {
			s.t.Errorf("%s: %v are missing before segment %d", v.Name, hole, it.Seq)
		}
	}
	if switches != want {
		s.t.Errorf("%s: %d switches of feeds, want %d", v.Name, switches, want)
	}
	s.seamless(v)
}

// timeSlip is how far PROGRAM-DATE-TIME, which is in milliseconds, may be off.
const timeSlip = 2 * time.Millisecond

// seamless holds that nothing is shown twice, that another feed begins with a discontinuity, that it
// is one broadcast, and that no stretch of one feed has a hole.
func (s *show) seamless(v *check.Viewer) {
	s.t.Helper()
	items := v.Items()
	for i, it := range items {
		units := it.Units
		if i > 0 {
			before := items[i-1]
			switch same := feedOf(it) == feedOf(before); {
			case same && len(before.Units) > 0:
				units = append(before.Units[len(before.Units)-1:len(before.Units):len(before.Units)], units...)
			case !same && !it.Discontinuity:
				s.t.Errorf("%s: segment %d is another feed's without a discontinuity", v.Name, it.Seq)
			}
			if overlap := before.Time.Add(before.Duration).Sub(it.Time); overlap > timeSlip {
				s.t.Errorf("%s: segment %d begins %v before the end of the one before it", v.Name, it.Seq, overlap)
			}
			if it.Broadcast != before.Broadcast {
				s.t.Errorf("%s: segment %d is of another broadcast", v.Name, it.Seq)
			}
		}
		for j := 1; j < len(units); j++ {
			if !units[j].Marked || units[j].Number != units[j-1].Number+1 {
				s.t.Errorf("%s: segment %d: frame %d follows %d", v.Name, it.Seq, units[j].Number, units[j-1].Number)
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
