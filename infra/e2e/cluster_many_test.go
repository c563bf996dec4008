package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"klive/infra/check"
	"klive/infra/publisher"
	"klive/workers"
)

var errShares = errors.New("not all entries are owned, or not by all workers")

// manyEntries is how many broadcasts the test of ownership has. With the store and the publishers
// they take all of a host of two cores, which then can't do anything beside it.
const manyEntries = 200

// manyPart is their parts' duration: who carries many small streams on a small bus takes longer parts,
// because each is a message whatever it weighs.
const manyPart = 750 * time.Millisecond

// TestClusterManyEntries puts entries of 300 kbit/s on the air and measures how they are
// spread over the workers, what moves when a worker leaves and when it comes back, what an entry
// costs, and what the leases cost the bus. README.md states the ceiling that follows.
func TestClusterManyEntries(t *testing.T) {
	proveOnly(t)
	c := startCluster(t, shape{settings: []string{"log.level=info", "part.duration=" + manyPart.String()}, direct: true})
	table := &check.Table{Title: fmt.Sprintf("%d entries at 300 kbit/s", manyEntries)}
	t.Cleanup(func() { t.Log(table) })
	clip := demoClip(t, publisher.Synthetic{Width: 640, Height: 360, Bitrate: 300_000})
	idle, begin := c.usage(), time.Now()
	time.Sleep(20 * time.Second)
	rest, span := c.usage(), time.Since(begin)
	var feeds []*feed
	for i, e := range (controlPlane{c.client, c.control.admin}).addEntries(t, manyEntries) {
		feeds = append(feeds, publishLightly(t, c.gateways[i%len(c.gateways)].ingest(e, 0), clip))
		time.Sleep(100 * time.Millisecond)
	}
	settled := func(what string, workers int) (most, least int) {
		t.Helper()
		from := time.Now()
		eventually(t, 4*time.Minute, what, func() error {
			m := c.owned()
			var n int
			if n, most, least = shares(m); n != manyEntries || len(m) != workers {
				return errShares
			}
			return nil
		})
		table.Add(what+": all owned after", time.Since(from), "")
		table.Add(what+": most and least of a worker", []int{most, least}, "")
		return most, least
	}
	most, least := settled("three workers", 3)
	if most > 2*manyEntries/3 || least < manyEntries/10 {
		t.Errorf("a worker owns %d and another %d of %d entries", most, least, manyEntries)
	}
	time.Sleep(20 * time.Second)
	before, written, idling, own, from := c.usage(), c.written(), idleHost(t), ownCPU(t), time.Now()
	time.Sleep(time.Minute)
	after, more, minutes := c.usage(), c.written(), time.Since(from).Minutes()
	table.Add("publishers and store: CPU s a minute", []float64{(ownCPU(t) - own).Seconds() / minutes, (after["store"].cpu - before["store"].cpu) / minutes}, "")
	idleCores := (idleHost(t) - idling).Minutes() / minutes
	table.Add("cores of this host that had nothing to do", fmt.Sprintf("%.2f of %d", idleCores, runtime.NumCPU()), "")
	costs := ceiling{entries: manyEntries, most: most, least: least, roles: map[string]cost{}}
	for _, role := range ceilingRoles {
		standing := (rest[role].cpu - idle[role].cpu) / span.Minutes()
		costs.roles[role] = cost{
			cpu:    ((after[role].cpu-before[role].cpu)/minutes - standing) / float64(manyEntries),
			memory: (after[role].memory - rest[role].memory) / float64(manyEntries),
		}
		table.Add(role+": CPU s a minute, idle and with all entries", []float64{standing, (after[role].cpu - before[role].cpu) / minutes}, "")
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		rate := float64(more[name]-written[name]) / minutes / 60
		if rate >= 0.1 {
			table.Add("bus: writes a second to "+name, fmt.Sprintf("%.1f", rate), "")
		}
		if name == "KV_"+workers.OwnersBucket {
			costs.leases = rate
		}
	}

	gone, away := c.workers[0], time.Now()
	if _, err := gone.Terminate(60 * time.Second); err != nil {
		t.Error(err)
	}
	settled("one of three has left", 2)
	costs.moved = time.Since(away)
	gone.Restart()
	settled("it is back", 3)
	time.Sleep(time.Minute) // a move each worker.moveEvery
	_, most, least = shares(c.owned())
	table.Add("a minute later: most and least of a worker", []int{most, least}, "")
	for _, f := range feeds {
		if err := f.stop(); err != nil {
			t.Errorf("a stream ended: %v", err)
		}
	}
	t.Log("\n" + costs.text())
	if !t.Failed() {
		costs.tell(t)
	}
}

// idleHost is how long all of this host's processors together had nothing to do (proc(5), /proc/stat).
func idleHost(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 6 {
		t.Skipf("SKIP: no /proc/stat: %v", err)
	}
	var ticks int64
	for _, text := range f[4:6] { // idle, and idle that waits for a disk
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// written is the number of each stream's newest record on the bus, by the stream's name.
func (c *cluster) written() map[string]uint64 {
	c.t.Helper()
	nc := c.bus(c.t, c.busURLs...)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	infos, err := c.streams(ctx, js)
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, info := range infos {
		out[info.Config.Name] = info.State.LastSeq
	}
	return out
}

// owned is how many entries each worker owns that owns any, by its name.
func (c *cluster) owned() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	var answer struct {
		Nodes []struct {
			Name  string `json:"name"`
			Owned int    `json:"owned"`
		} `json:"nodes"`
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.control.admin+"/v1/nodes", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := c.client.Do(req)
	if err != nil {
		return out
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&answer) == nil {
		for _, n := range answer.Nodes {
			if n.Owned > 0 {
				out[n.Name] = n.Owned
			}
		}
	}
	return out
}

// shares are all entries that are owned, and the most and the least of a worker.
func shares(m map[string]int) (n, most, least int) {
	least = math.MaxInt
	for _, k := range m {
		n, most, least = n+k, max(most, k), min(least, k)
	}
	return n, most, least
}
