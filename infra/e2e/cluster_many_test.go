package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/publisher"
)

var errShares = errors.New("not all entries are owned, or not by all workers")

// manyEntries is how many broadcasts the test of ownership has.
const manyEntries = 200

// TestClusterTwoHundredEntries puts 200 entries of 300 kbit/s on the air and measures how they are
// spread over the workers, what moves when a worker leaves and when it comes back, what an entry
// costs, and what the leases cost the bus. README.md states the ceiling that follows.
func TestClusterTwoHundredEntries(t *testing.T) {
	proveOnly(t)
	c := startCluster(t, shape{settings: []string{"log.level=info"}})
	table := &check.Table{Title: "200 entries at 300 kbit/s"}
	t.Cleanup(func() { t.Log(table) })
	clip := demoClip(t, publisher.Synthetic{Width: 640, Height: 360, Bitrate: 300_000})
	idle, begin := c.usage(), time.Now()
	time.Sleep(20 * time.Second)
	rest, span := c.usage(), time.Since(begin)
	var feeds []*feed
	for i, e := range (controlPlane{c.client, c.control.admin}).addEntries(t, manyEntries) {
		feeds = append(feeds, publish(t, c.gateways[i%len(c.gateways)].ingest(e, 0), clip, 0))
		time.Sleep(100 * time.Millisecond)
	}
	owned := func() map[string]int { return c.owned() }
	sum := shares
	settled := func(what string, workers int) (most, least int) {
		t.Helper()
		from := time.Now()
		eventually(t, 4*time.Minute, what, func() error {
			m := owned()
			var n int
			if n, most, least = sum(m); n != manyEntries || len(m) != workers {
				return errShares
			}
			return nil
		})
		table.Add(what+": all owned after", time.Since(from), "")
		table.Add(what+": most and least of a worker", []int{most, least}, "")
		return most, least
	}
	if most, least := settled("three workers", 3); most > 2*manyEntries/3 || least < manyEntries/10 {
		t.Errorf("a worker owns %d and another %d of %d entries", most, least, manyEntries)
	}
	time.Sleep(20 * time.Second)
	before, from := c.usage(), time.Now()
	time.Sleep(time.Minute)
	after, minutes := c.usage(), time.Since(from).Minutes()
	all := 0.0
	for _, role := range []string{"bus", "gateway", "worker", "origin", "control"} {
		standing := (rest[role].cpu - idle[role].cpu) / span.Minutes()
		per := ((after[role].cpu-before[role].cpu)/minutes - standing) / manyEntries
		all += per
		table.Add(role+": CPU s per entry and minute, without what it takes idle", per, "")
		table.Add(role+": MB per entry", (after[role].memory-rest[role].memory)/manyEntries, "")
	}
	table.Add("entries that one core carries with all roles (60 s / CPU s per entry and minute)", int(60/max(all, 1e-6)), "")
	worker := (after["worker"].cpu - before["worker"].cpu) / minutes / manyEntries
	table.Add("entries that one core of a worker carries", int(60/max(worker, 1e-6)), "")
	table.Add("lease renewals a second (one per entry each half worker.stealAfter)", manyEntries, "")

	gone := c.workers[0]
	if _, err := gone.Terminate(60 * time.Second); err != nil {
		t.Error(err)
	}
	settled("one of three has left", 2)
	gone.Restart()
	settled("it is back", 3)
	time.Sleep(time.Minute) // a move each worker.moveEvery
	_, most, least := sum(owned())
	table.Add("a minute later: most and least of a worker", []int{most, least}, "")
	for _, f := range feeds {
		if err := f.stop(); err != nil {
			t.Errorf("a stream ended: %v", err)
		}
	}
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
	least = manyEntries
	for _, k := range m {
		n, most, least = n+k, max(most, k), min(least, k)
	}
	return n, most, least
}
