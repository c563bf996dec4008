package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/live"
	"klive/workers/transcode/transcodetest"
)

var update = flag.Bool("update", false, "write the API logs of scenarios anew")

// TestScenarios plays each scenario against the whole service in virtual time. Every
// version of every playlist passes the rule checker.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			promised(t)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := check.ParseScenario(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			bustest.Prepare(t)
			synctest.Test(t, func(t *testing.T) { playScenario(t, s) })
		})
	}
}

func playScenario(t *testing.T, s *check.Scenario) *check.Follower {
	return playOn(t, s, startService(t, s))
}

// playOn plays a scenario against a service that runs.
func playOn(t *testing.T, s *check.Scenario, on *service) *check.Follower {
	out, err := check.RunScenario(t.Context(), s, on.system())
	if err != nil {
		t.Fatal(err)
	}
	m := &out.Follower.Manifests
	t.Logf("%d playlist versions, %d manifests with %d segments held against HLS; audit:\n%v",
		len(out.Follower.Versions), m.Manifests, m.Compared, out.Follower.Audit(out.Sent))
	if len(out.Follower.Versions) > 0 && m.Compared == 0 {
		t.Error("no manifest was held against HLS")
	}
	for _, err := range out.Check(s.Expects, func(name string) (string, error) { return golden(t, name, out) }) {
		t.Error(err)
	}
	if t.Failed() {
		for _, r := range out.Refusals {
			t.Logf("an encoder was told: %v", r)
		}
		showLast(t, out.Follower)
	}
	return out.Follower
}

// TestStrictParser has a parser that is not ours read every version of every playlist of ten
// minutes with reconnects, changes of the feed and gaps.
func TestStrictParser(t *testing.T) {
	tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/hls-parser"); err != nil {
		t.Skip("SKIP: no hls-parser; make setup-test")
	}
	var list []map[string]string
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		f := playTenMinutes(t)
		for _, v := range f.Versions {
			list = append(list, map[string]string{"path": v.Path, "text": v.Text})
		}
		for name, r := range f.Renditions {
			gaps, discontinuities := 0, 0
			for _, it := range r.Items {
				if it.Gap {
					gaps++
				}
				if it.Discontinuity {
					discontinuities++
				}
			}
			t.Logf("%s: %d items, %d gaps, %d discontinuities", name, len(r.Items), gaps, discontinuities)
			if rung := strings.Contains(name, "_33/"); rung && gaps < 10 || !rung && gaps > 0 || discontinuities < 8 {
				t.Errorf("%s has %d gaps and %d discontinuities", name, gaps, discontinuities)
			}
		}
	})
	if strict(t, list); len(list) < 300 {
		t.Errorf("%d versions", len(list))
	}
}

// strict has an independent strict parser read playlists, each a path and a text.
func strict(t *testing.T, list []map[string]string) {
	t.Helper()
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/hls-parser"); err != nil {
		t.Skip("SKIP: no hls-parser; make setup-test")
	}
	in, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "strict.mjs")
	cmd.Dir = "browser"
	cmd.Stdin = bytes.NewReader(in)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	t.Logf("%d versions: hls-parser took %s", len(list), strings.TrimSpace(said.String()))
	if err != nil || len(out) > 0 {
		t.Errorf("hls-parser: %v: %s", err, out)
	}
}

// playTenMinutes plays the ten minutes of an entry with a ladder, one of whose rungs is not made
// of each eleventh segment.
func playTenMinutes(t *testing.T) *check.Follower {
	n := 0
	s := startServiceWith(t, &check.Scenario{Settings: []check.Setting{{Key: "broadcast.resume", Value: "20s"}}},
		func(ctx context.Context, jobs *bus.Queue, ends *bus.Log, m bus.Media) error {
			return (&transcodetest.Worker{Jobs: jobs, Ends: ends, Media: m, Spoil: func(_ *live.Job, e live.JobEnd) live.JobEnd {
				if strings.HasSuffix(e.Rendition, "_33") {
					if n++; n%11 == 0 {
						return live.JobEnd{Rendition: e.Rendition, Failure: "it can't be decoded", Cause: "failed"}
					}
				}
				return e
			}}).Run(ctx)
		})
	api := &http.Transport{DialContext: s.plane.Dialer("admin.listen"), DisableKeepAlives: true}
	e := controlPlane{&http.Client{Transport: api}, "klive.test"}.addEntriesOf(t, cloudTranscode, 1)[0]
	scenario, err := check.ParseScenario(strings.NewReplacer("ENTRY", e.ID, "TOKEN", e.Token).Replace(tenMinutes))
	if err != nil {
		t.Fatal(err)
	}
	return playOn(t, scenario, s)
}

const tenMinutes = `
encoder A rtmp 640x360@12 gop=2s entry=ENTRY token=TOKEN
encoder B rtmp 640x360@12 gop=1s entry=ENTRY token=TOKEN index=1 start=700ms
at 60s drop A 12s
at 150s gap A 4s
at 200s jump A 25s
at 260s drop B 5s
at 300s drop A 30s
at 420s drop A 2s
at 500s stop A
run 600s
expect broadcasts 1
expect live
`

// golden reads a list of API calls, or writes it when the test is asked to.
func golden(t *testing.T, name string, out *check.Outcome) (string, error) {
	file := filepath.Join("testdata", "api", name+".txt")
	if *update {
		list := "# The calls of the scenario: when, what, with which parameters.\n" + check.FormatCalls(out.Calls, out.Begin)
		return list, os.WriteFile(file, []byte(list), 0o644)
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// showLast logs the newest version of each playlist.
func showLast(t *testing.T, f *check.Follower) {
	last := map[string]string{}
	for _, v := range f.Versions {
		last[v.Path] = v.Text
	}
	for path, text := range last {
		t.Logf("%s:\n%s", path, text)
	}
}
