package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/live"
	"klive/infra/publisher"
)

// randomKinds are the faults of a random run, each of which a row of the promise table is about.
var randomKinds = fault.Kinds{
	{Name: "kill the owner of broadcast", Of: 3},
	{Name: "kill gateway", Of: 2},
	{Name: "kill bus node", Of: 3, Short: 10 * time.Second, Long: 15 * time.Second},
	{Name: "kill worker and gateway", Of: 2},
	{Name: "stop the owner of broadcast", Of: 3, Short: 5 * time.Second, Long: 15 * time.Second},
	{Name: "store answers 503", Short: 10 * time.Second, Long: 30 * time.Second},
	{Name: "store hangs", Short: 10 * time.Second, Long: 30 * time.Second},
	{Name: "control plane away", Short: 10 * time.Second, Long: 30 * time.Second},
}

// TestClusterRandomFaults does random faults to three broadcasts, over RTMP, SRT and HTTP, for
// 20 minutes. Each row's promise holds: nothing is lost but what an encoder did not send again, no
// stall is longer than an election of the bus and a take-over, and each stays one broadcast. The
// seed is printed; KLIVE_SEED=<seed> does the same again.
func TestClusterRandomFaults(t *testing.T) {
	proveOnly(t)
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("KLIVE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KLIVE_SEED: %v", err)
		}
	}
	plan := fault.RandomPlan(seed, 20*time.Minute, 15*time.Second, randomKinds)
	t.Logf("KLIVE_SEED=%d draws %d faults:\n%s", seed, len(plan), fault.PlanText(plan))
	c := startCluster(t, shape{settings: append([]string{"dvr.maxWindow=1h", "bus.retention.age=2m"}, recordedSoon...)})
	s := c.air(fmt.Sprintf("random faults, seed %d", seed))
	others := c.mixed(t)
	entries := []entry{s.entry}
	for _, o := range others {
		entries = append(entries, o.entry)
	}
	begin := time.Now()
	for _, step := range plan {
		time.Sleep(time.Until(begin.Add(step.At)))
		s.random(step, entries)
	}
	time.Sleep(time.Until(begin.Add(20 * time.Minute)))
	s.inTime()
	for _, o := range others {
		s.unbroken(o)
	}
	s.finish()
	s.stalls(randomStall)
	s.vod()
	s.fenced(nil)
}

// randomStall is how late a segment may come: the bus elects in up to 10 s, and an owner may die in that.
const randomStall = 15 * time.Second

// cutOffStall is the same of a broadcast whose encoder does not come back at once: the last segment of a
// feed that ended without a word, because its gateway was killed, is complete when that counts as dead.
const cutOffStall = randomStall + live.FeedStale

// followed is a broadcast with one who watches it from its beginning.
type followed struct {
	entry entry
	*check.Viewer
}

// unbroken holds what a viewer saw of a broadcast whose encoder connects again and again: one broadcast,
// each segment in its turn, and none much later than its media.
func (s *show) unbroken(o followed) {
	s.t.Helper()
	o.Stop()
	if err := o.Err(); err != nil {
		s.t.Error(err)
	}
	items, broadcasts := o.Items(), map[string]bool{}
	for _, it := range items {
		broadcasts[it.Broadcast] = true
	}
	m := check.MeasureStalls(items, s.faults)
	s.table.AddStalls(o.Name, m, "≤ "+cutOffStall.String())
	if len(broadcasts) != 1 || len(items) < 200 || m.Worst.By > cutOffStall {
		s.t.Errorf("%s: %d broadcasts, %d segments of 20 minutes, segment %d was %v late (%s)", o.Name, len(broadcasts), len(items), m.Worst.Seq, m.Worst.By, m.Worst.Fault)
	}
}

// mixed puts two more broadcasts on the air, over SRT and HTTP, by ffmpeg in a loop: a packager
// that is cut off begins again.
func (c *cluster) mixed(t *testing.T) (out []followed) {
	t.Helper()
	file, _ := transportFile(t, demoClip(t, publisher.Synthetic{GOP: 2 * time.Second, BFrames: 2}), time.Minute)
	es := controlPlane{c.client, c.control.admin}.addEntries(t, 2)
	for i, address := range []func(g *member) string{
		func(g *member) string {
			return fmt.Sprintf("srt://%s?streamid=%s", g.srt, "%23%3A%3A%3Ae="+es[0].ID+",st=0,p="+es[0].Token)
		},
		func(g *member) string {
			return fmt.Sprintf("-method POST http://%s/ingest/%s_1?p=102&t=%s", g.http, es[1].ID, es[1].Token)
		},
	} {
		var turns []string
		for _, g := range c.gateways {
			words := strings.Fields(address(g))
			words[len(words)-1] = "'" + words[len(words)-1] + "'"
			turns = append(turns, fmt.Sprintf("%s -loglevel error -nostdin -re -stream_loop -1 -i %s -map 0 -c copy -f mpegts %s; sleep 0.5", ffmpeg(t), file, strings.Join(words, " ")))
		}
		name := []string{"srt", "push"}[i]
		fault.Launch(t, fault.Spec{
			Name: name, Path: "/bin/sh", Args: []string{"-c", "while :; do " + strings.Join(turns, "; ") + "; done"},
			Env: environ(), Log: filepath.Join(c.dir, name+".log"),
		})
	}
	for i, e := range es {
		v, err := check.Watch([]string{"srt ", "push "}[i]+e.ID, c.origins[0].playlist(e.ID, false))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Stop)
		eventually(t, time.Minute, "segments of "+v.Name, func() error {
			if n, _ := v.Last(); n < 3 {
				return fmt.Errorf("%d segments", n)
			}
			return nil
		})
		out = append(out, followed{e, v})
	}
	return out
}

// random does one fault of a plan, and mends what it broke.
func (s *show) random(step fault.Step, entries []entry) {
	s.t.Helper()
	c := s.c
	name := step.String()
	switch step.Kind {
	case "kill the owner of broadcast":
		m := c.owner(entries[step.Who].ID)
		s.fault("%s (%s)", name, m.Name)
		m.Kill()
		time.Sleep(5 * time.Second)
		m.Relaunch()
	case "kill gateway":
		m := c.gateways[step.Who]
		s.fault("%s", name)
		m.Kill()
		time.Sleep(2 * time.Second)
		m.Restart()
	case "kill bus node":
		m := c.buses[step.Who]
		s.during(step.For, name, m.Kill, m.Restart)
		c.whole()
	case "kill worker and gateway":
		worker, gateway := c.owner(s.entry.ID), c.gateways[step.Who]
		s.fault("%s (%s, %s)", name, worker.Name, gateway.Name)
		worker.Kill()
		gateway.Kill()
		time.Sleep(3 * time.Second)
		gateway.Restart()
		worker.Relaunch()
	case "stop the owner of broadcast":
		m := c.owner(entries[step.Who].ID)
		s.during(step.For, name+" ("+m.Name+")", m.Stop, m.Continue)
	case "store answers 503":
		s.during(step.For, name, func() { c.trouble(fault.Trouble{Status: http.StatusServiceUnavailable}) }, func() { c.trouble(fault.Trouble{}) })
	case "store hangs":
		s.during(step.For, name, c.store.Stop, c.store.Continue)
	case "control plane away":
		s.during(step.For, name, c.control.Kill, func() { c.control.Restart() })
	default:
		s.t.Fatalf("nothing is known of %q", step.Kind)
	}
}
