package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const browserFolder = "../e2e/browser"

// needTools skips, by name, what this machine can't run.
func needTools(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: the browser takes its time (-short)")
	}
	for _, tool := range []string{"node", "ffmpeg", cmp.Or(os.Getenv("CHROMIUM"), "/usr/bin/chromium")} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: no %s; make setup-test", tool)
		}
	}
	if _, err := os.Stat(browserFolder + "/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	if _, err := fs.Stat(builtConsole(), "index.html"); err != nil {
		t.Skip("SKIP: the console is not built; make build")
	}
}

// clip serves a short HLS presentation made by ffmpeg.
func clip(t *testing.T) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=24", "-f", "lavfi", "-i", "sine=frequency=440:duration=24",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p", "-c:a", "aac",
		"-f", "hls", "-hls_time", "4", "-hls_list_size", "0", "-hls_segment_type", "fmp4", filepath.Join(dir, "playlist.m3u8"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func runNode(t *testing.T, result any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // Chromium starts slowly on a busy machine
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = browserFolder
	cmd.WaitDelay = 5 * time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatalf("node %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func fakeNews() []Stream {
	now := time.Now()
	const playlist = "/playlist.m3u8"
	return []Stream{
		{Entry: "0_demolive", Feed: "0_demolive.0.1", Name: "0_demolive_1", Index: "primary", State: StateLive,
			Video: "H264", Audio: "AAC", Width: 1280, Height: 720, FrameRate: 30, Bitrate: 2_531_000, Opened: now.Add(-754 * time.Second),
			Protocol: "rtmp", Encoder: "obs-output module (libobs version 30.2.3)", Peer: "192.0.2.17:51544", PlayPath: playlist},
		{Entry: "0_demolive", Feed: "0_demolive.1.1", Name: "0_demolive_1", Index: "backup", State: StateStandby,
			Video: "H264", Audio: "AAC", Width: 1280, Height: 720, FrameRate: 30, Bitrate: 2_498_000, Opened: now.Add(-733 * time.Second),
			Protocol: "rtmp", Encoder: "obs-output module (libobs version 30.2.3)", Peer: "192.0.2.18:40122", PlayPath: playlist},
		{Entry: "0_conf2k27", Feed: "0_conf2k27.0.1", Name: "0_conf2k27_1", Index: "primary", State: StateLive,
			Video: "HEVC", Audio: "AAC", Width: 3840, Height: 2160, FrameRate: 59.94, Bitrate: 14_800_000, Opened: now.Add(-5 * time.Hour),
			Protocol: "rtmps", Encoder: "Lavf61.7.100", Peer: "198.51.100.4:60001", PlayPath: playlist},
		{Entry: "0_townhall", Feed: "0_townhall.0.1", Name: "0_townhall_1", Index: "primary", State: StateStarting,
			Audio: "AAC", Bitrate: 96_000, Opened: now.Add(-3 * time.Second), Protocol: "rtmp", Peer: "203.0.113.9:50555"},
	}
}

type seen struct {
	Wide, Phone struct {
		Chosen    string // the stream that is shown
		Rows      [][]string
		Empty     string
		Addresses []string
		Tables    []string // entries on the air, nodes
		Overflow  int
	}
	Playing    bool
	AfterArrow string
	Copied     string
	Theme      string
	Errors     []string
}

// The console in a real browser: what it shows, plays and copies. KLIVE_SHOTS names a
// folder in which the screenshots stay, for a look.
func TestConsoleInChromium(t *testing.T) {
	needTools(t)
	media := clip(t)
	shots := func(name string) string {
		dir := os.Getenv("KLIVE_SHOTS")
		if dir == "" {
			return t.TempDir()
		}
		dir = filepath.Join(dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	serve := func(list []Stream, entries []Entry, cluster fakeCluster) string {
		h := handler(t, func(c *Config) {
			c.Console = nil
			c.Streams = fakeStreams{list: list}
			c.Entries = fakeEntries(entries)
			c.Cluster = cluster
			c.Places.PublicURL = media.URL
		})
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	demo := []Entry{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}}

	t.Run("live", func(t *testing.T) {
		t.Parallel()
		var got seen
		runNode(t, &got, "console.mjs", serve(fakeNews(), demo, busyCluster()), shots("live"))
		checkLive(t, got)
	})
	t.Run("ended", func(t *testing.T) {
		t.Parallel()
		var got seen
		list := fakeNews()[:2]
		list[0].State, list[0].Gone, list[1].State = StateGone, time.Now(), StateLive
		runNode(t, &got, "console.mjs", serve(list, demo, busyCluster()), shots("ended"))
		if got.Wide.Chosen != "0_demolive_1\nbackup" && got.Wide.Chosen != "0_demolive_1backup" {
			t.Errorf("it opens on %q, want the one that is live", got.Wide.Chosen)
		}
	})
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		var got seen
		runNode(t, &got, "console.mjs", serve(nil, demo, fakeCluster{nodes: []NodeState{{Name: "vm-1", Self: true, Roles: []string{"gateway"}, Ready: true}}}), shots("empty"))
		if !strings.Contains(got.Wide.Empty, "Nothing is on the air") || !strings.Contains(got.Wide.Empty, "OBS Studio") {
			t.Errorf("the empty page says %q", got.Wide.Empty)
		}
		if got.Copied != "rtmp://127.0.0.1/kLive/?p=102&e=0_demolive&i=0&t=demo1234" {
			t.Errorf("copied %q", got.Copied)
		}
		if len(got.Wide.Tables) != 0 {
			t.Errorf("one process shows tables: %q", got.Wide.Tables)
		}
		checkPages(t, got)
	})
	t.Run("player", func(t *testing.T) { checkPlayer(t, serve(nil, nil, fakeCluster{}), media.URL) })
}

func checkLive(t *testing.T, got seen) {
	t.Helper()
	if len(got.Wide.Rows) != 4 || !got.Playing {
		t.Fatalf("got %d rows, playing %v", len(got.Wide.Rows), got.Playing)
	}
	row := strings.Join(got.Wide.Rows[0], " | ")
	for _, want := range []string{"Live", "0_demolive_1", "primary", "H264", "1280×720", "30", "AAC", "2.53 Mbit/s", "| 12:", "192.0.2.17"} {
		if !strings.Contains(row, want) {
			t.Errorf("the first row lacks %q: %s", want, row)
		}
	}
	if got.AfterArrow != "0_demolive_1" || len(got.Wide.Addresses) != 4 || got.Copied != got.Wide.Addresses[0] {
		t.Errorf("keyboard choice %q, addresses %q, copied %q", got.AfterArrow, got.Wide.Addresses, got.Copied)
	}
	if len(got.Wide.Tables) != 2 {
		t.Fatalf("tables: %q", got.Wide.Tables)
	}
	for i, words := range [][]string{
		{"0_demolive", "Live", "worker-2-abcdefgh", "0.1, 1.1", "1.3 s", "Store away", "No owner"},
		{"gateway-1-klmnopqr", "10.0.0.4:8082", "Draining", "Not ready", "v0.0.1", "12 MiB", "0.7 ms", "takes no transcode jobs: ffmpeg is not there (transcode.ffmpeg)"},
	} {
		for _, want := range words {
			if !strings.Contains(got.Wide.Tables[i], want) {
				t.Errorf("table %d lacks %q: %s", i, want, got.Wide.Tables[i])
			}
		}
	}
	checkPages(t, got)
}

// busyCluster is a deployment in which not all is well.
func busyCluster() fakeCluster {
	return fakeCluster{
		live: []LiveEntry{
			{ID: "0_demolive", Owner: "worker-2-abcdefgh", Epoch: 4, Feeds: []string{"0_demolive.0.1", "0_demolive.1.1"}, LastSeq: 1234, Lag: 1.3, Health: HealthLive},
			{ID: "0_conf2k27", Owner: "worker-1-ijklmnop", Epoch: 1, Feeds: []string{"0_conf2k27.0.1"}, LastSeq: 4400, Lag: 2, Pending: 14, Health: HealthHeld},
			{ID: "0_townhall", Feeds: []string{"0_townhall.0.1"}, Health: HealthOrphan, Text: "no worker owns it; is one running and ready?"},
		},
		nodes: []NodeState{
			{Name: "gateway-1-klmnopqr", Roles: []string{"gateway"}, Version: "v0.0.1", Address: "10.0.0.4:8082", Ready: true, Feeds: 3, BusRTT: 0.0007},
			{Name: "origin-1-bcdefghi", Self: true, Roles: []string{"origin", "control"}, Version: "v0.0.1", Ready: true, BusRTT: 0.0011},
			{Name: "worker-1-ijklmnop", Roles: []string{"worker"}, Version: "v0.0.1", Draining: true, Owned: 1, SpoolBytes: 12 << 20, BusRTT: 0.002},
			{Name: "transcoder-1-qrstuvwx", Roles: []string{"transcode"}, Version: "v0.0.1", Ready: true, TranscodeAway: "ffmpeg is not there (transcode.ffmpeg)"},
			{Name: "worker-2-abcdefgh", Roles: []string{"worker"}, Version: "v0.0.1", Owned: 1},
		},
	}
}

func checkPages(t *testing.T, got seen) {
	t.Helper()
	if got.Wide.Overflow > 0 || got.Phone.Overflow > 0 {
		t.Errorf("the page scrolls sideways: by %d px wide, %d px on a phone", got.Wide.Overflow, got.Phone.Overflow)
	}
	if len(got.Errors) > 0 || got.Theme != "light" {
		t.Errorf("errors %q, theme %q", got.Errors, got.Theme)
	}
}

func checkPlayer(t *testing.T, console, media string) {
	t.Helper()
	for _, native := range []string{"0", "1"} {
		var got struct {
			Stats struct {
				Engine                             string
				Playing, Waiting, Decoded, Dropped int
				CurrentTime                        float64
				Fatal                              []string
			}
			Console []string
		}
		runNode(t, &got, "watch.mjs", console+"/player.html?src="+media+"/playlist.m3u8&native="+native, "8")
		s := got.Stats
		// That it plays without a stall is for the end-to-end tests, which have more of the machine.
		if s.Playing < 1 || s.Decoded < 15 || s.CurrentTime < 0.5 || len(s.Fatal) > 0 {
			t.Errorf("native=%s: %+v, console %q", native, s, got.Console)
		}
		if want := map[string]string{"0": "hls.js", "1": "native"}[native]; s.Engine != want {
			t.Errorf("played by %s, want %s", s.Engine, want)
		}
	}
}
