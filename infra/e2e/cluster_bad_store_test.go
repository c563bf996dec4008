package e2e

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/check/fault"
)

// errSilent is the wait for a line that has not come yet.
var errSilent = errors.New("nothing of the kind is in the log")

// TestClusterBadBucket gives workers buckets that can't carry them. Each says what to do.
func TestClusterBadBucket(t *testing.T) {
	beside(t)
	c := newCluster(t, shape{buses: 1, origins: 1, gateways: 1})
	c.startStore()
	c.startBuses()
	c.control = c.launch("control", "control")
	c.control.WaitReady()
	writes := func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }
	for _, bad := range []struct {
		name    string
		trouble fault.Trouble
		url     string
		words   []string
	}{
		{name: "missing", url: "s3://no-such-bucket/klive?region=us-east-1&pathStyle=true&endpoint=http://" + c.storeAddr, words: []string{"no-such-bucket"}},
		{name: "readonly", trouble: fault.Trouble{Match: writes, Status: http.StatusForbidden, Code: "AccessDenied"}, words: []string{"s3:PutObject"}},
		{name: "region", trouble: fault.Trouble{Status: http.StatusBadRequest, Code: "AuthorizationHeaderMalformed"}, words: []string{"region"}},
		{name: "busy", trouble: fault.Trouble{Status: http.StatusServiceUnavailable}, words: []string{"waiting for the store", "ServiceUnavailable"}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			name := "worker-" + bad.name
			url := bad.url
			if url == "" {
				url = c.storageURL(name)
				c.relays[name].Set(bad.trouble)
			}
			c.shape.of = map[string][]string{name: {"storage.url=" + url, "storage.timeout=1s", "storage.deadline=3s"}}
			w := c.launch(name, "worker")
			defer w.Kill()
			eventually(t, 30*time.Second, "a line with "+bad.words[0], func() error { return w.says(append(bad.words, "level=")...) })
			lines := w.Said(append(bad.words, "level=")...)
			t.Logf("%s", lines[0])
			if err := c.ready(t.Context(), w.admin); err == nil {
				t.Error("the worker is ready without a store")
			}
			if !w.Running() {
				t.Error("the worker has ended")
			}
			if len(w.Said(s3Secret)) > 0 {
				t.Error("the log holds the bucket's secret")
			}
		})
	}
}

// TestClusterForeignObjects puts things under our prefix that are not klive's, or that it can't
// read. They stay as they are, and only the entry that they belong to suffers.
func TestClusterForeignObjects(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments, workers: 1, gateways: 1})
	entries := (controlPlane{c.client, c.control.admin}).addEntries(t, 2)
	truncated, newer := entries[0], entries[1]
	head := func(e entry) string { return filepath.Join("state", e.ID, "head.json") }
	foreign := map[string][]byte{
		head(truncated):                            []byte(`{"v":1,"writeId":"0123456789abcdef","state":{"v":1,"entry":"` + truncated.ID + `","epo`),
		head(newer):                                []byte(`{"v":99,"writeId":"0123456789abcdef","state":{}}`),
		"kLive/notes.txt":                          []byte("not klive's"),
		"kLive/" + demo.ID + "_32/holiday.jpg":     bytes.Repeat([]byte{7}, 1000),
		"kLive/" + demo.ID + "_32/abc/1-1.m4s":     []byte("a segment that no timeline names"),
		"state/" + demo.ID + "/somebody/chapter-x": []byte("?"),
	}
	for key, data := range foreign {
		c.place(key, data)
	}
	s := c.air("foreign objects under the prefix")
	for _, e := range entries {
		lightEncoder(t, c.gateways[0].ingest(e, 0))
	}
	for _, e := range entries {
		eventually(t, 30*time.Second, "a line about the timeline of "+e.ID, func() error { return c.workers[0].says("level=ERROR", e.ID, "timeline") })
		t.Logf("%s", c.workers[0].Said("level=ERROR", e.ID, "timeline")[0])
	}
	s.await(3)
	s.finish()
	s.undisturbed()
	for key, data := range foreign {
		now, err := os.ReadFile(filepath.Join(c.bucketDir, "klive", key))
		if err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s has changed: %v, %.80q", key, err, now)
		}
	}
}

// place writes an object past klive.
func (c *cluster) place(key string, data []byte) {
	c.t.Helper()
	file := filepath.Join(c.bucketDir, "klive", key)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// TestClusterSlowStore makes each request to the store take a while: less than the spool
// waits, and more.
func TestClusterSlowStore(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("a slow store")
	for _, d := range []time.Duration{300 * time.Millisecond, 2500 * time.Millisecond} {
		s.during(length(30*time.Second, 6*time.Second), "each request takes "+d.String(),
			func() { c.trouble(fault.Trouble{Delay: d}) }, func() { c.trouble(fault.Trouble{}) })
		s.drained()
	}
	s.finish()
	s.stalls(storeStall)
	s.undisturbed()
}

// TestClusterLyingStore loses the answers to a part of the writes after the store has done
// them: no owner may take its own writes for another's, and nothing is written twice with
// different content.
func TestClusterLyingStore(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("a store whose answers get lost")
	var puts atomic.Int32
	third := func(r *http.Request) bool { return r.Method == http.MethodPut && puts.Add(1)%3 == 0 }
	s.during(length(60*time.Second, 8*time.Second), "each third answer is lost",
		func() { c.relays[c.owner(s.entry.ID).Name].Set(fault.Trouble{LoseAnswers: true, Match: third}) },
		func() { c.trouble(fault.Trouble{}) })
	s.drained()
	s.finish()
	s.stalls(storeStall)
	s.undisturbed()
	s.fenced(nil)
}
