package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// watched is what the player page counted (infra/admin/console/src/player-page.ts).
type watched struct {
	Engine      string
	Playing     int
	Waiting     int
	Decoded     int
	Dropped     int
	CurrentTime float64
	Buffered    [][2]float64 // seconds
	Width       int
	Height      int
	Errors      []string
	Fatal       []string
}

// sample is a look at the counters at one moment.
type sample struct {
	At          float64 // ms since the Unix epoch
	CurrentTime float64
	Decoded     int
	Dropped     int
	Waiting     int
}

// watching is what browser/watch.mjs prints.
type watching struct {
	Stats   watched
	Samples []sample
	Console []string
}

// watch plays a playlist in Chromium and returns what the page counted from the first
// 'playing' event on.
func watch(t *testing.T, p *process, native bool, seconds time.Duration) watching {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	page := "http://" + p.admin + "/player.html?src=" + url.QueryEscape(p.playlist("0_demolive"))
	if native {
		page += "&native=1"
	}
	shot := filepath.Join(shots(t), strings.ReplaceAll(t.Name(), "/", "-")+".png")
	cmd := exec.CommandContext(t.Context(), node, "watch.mjs", page, fmt.Sprint(seconds.Seconds()), shot)
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser: %v\n%s\n%s\n%s", err, out, complaints.String(), p.log)
	}
	var w watching
	if err := json.Unmarshal(out, &w); err != nil || len(w.Samples) < 3 {
		t.Fatalf("the browser printed %q: %v", out, err)
	}
	t.Logf("screenshot %s, %+v", shot, w.Stats)
	return w
}

// shots is where screenshots are kept for a look: KLIVE_SHOTS, or the test's own folder.
func shots(t *testing.T) string {
	if dir := os.Getenv("KLIVE_SHOTS"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	return t.TempDir()
}

// waitPlayable waits until the demo entry's playlist lists a segment.
func waitPlayable(t *testing.T, p *process) {
	t.Helper()
	p.wait(t, 20*time.Second, "a playlist", func() bool {
		return strings.Contains(p.get(t.Context(), p.playlist("0_demolive")), "#EXT-X-STREAM-INF")
	})
}

// waitLive waits until Kaltura's API calls the demo entry live. That is when players are
// sent to it: a few segments are there by then, and a player has something to buffer.
func waitLive(t *testing.T, p *process) {
	t.Helper()
	p.wait(t, 40*time.Second, "the entry to be live", func() bool {
		return p.get(t.Context(), "http://"+p.admin+"/api_v3/service/liveStream/action/isLive/id/0_demolive/protocol/hls/format/1") == "true"
	})
}

func TestPlayers(t *testing.T) {
	p := start(t)
	encodeLive(t, p.demo())
	waitLive(t, p)
	t.Run("hls.js", func(t *testing.T) {
		smooth(t, look(t, p, false, length(30*time.Second, 10*time.Second)), "hls.js")
	})
	t.Run("native", func(t *testing.T) {
		smooth(t, look(t, p, true, length(30*time.Second, 8*time.Second)), "native")
	})
	t.Run("ffprobe", func(t *testing.T) { probe(t, p, "h264", "aac") })
}

// fps is the frame rate of the encoder that players watch.
const fps = 30

// look is watch, again when pictures were dropped: that is the browser's doing on a busy machine,
// not the stream's. At its stated length it looks twice at most.
func look(t *testing.T, p *process, native bool, seconds time.Duration) watching {
	t.Helper()
	looks := 4
	if proving() {
		looks = 2
	}
	w := watch(t, p, native, seconds)
	for n := 1; n < looks && w.dropped() > 0.01*seconds.Seconds()*fps; n++ {
		t.Logf("%.0f frames were dropped; looking again", w.dropped())
		w = watch(t, p, native, seconds)
	}
	return w
}

func (w *watching) dropped() float64 {
	return float64(w.Samples[len(w.Samples)-1].Dropped - w.Samples[0].Dropped)
}

// smooth holds what a player counted against what viewers may see: no stall, no lost picture.
func smooth(t *testing.T, w watching, engine string) {
	t.Helper()
	first, last := w.Samples[0], w.Samples[len(w.Samples)-1]
	waiting := last.Waiting
	if engine == "native" {
		// Chromium's own player fires 'playing' and 'waiting' while it finds the live edge.
		first = w.Samples[1]
		waiting -= first.Waiting
	}
	if w.Stats.Engine != engine {
		t.Errorf("the page played with %s", w.Stats.Engine)
	}
	if waiting > 0 || len(w.Stats.Fatal) > 0 {
		t.Errorf("%d waiting events; errors %q; the page said %q", waiting, w.Stats.Errors, w.Console)
	}
	seconds := (last.At - first.At) / 1000
	if got := last.Decoded - first.Decoded; float64(got) < 0.98*seconds*fps {
		t.Errorf("%d frames were decoded in %.1f s, want at least 98 %% of %.0f", got, seconds, seconds*fps)
	}
	if got := last.Dropped - first.Dropped; float64(got) > 0.01*seconds*fps {
		t.Errorf("%d frames were dropped in %.1f s, want at most 1 %% of %.0f", got, seconds, seconds*fps)
	}
	if w.Stats.Width != 640 || w.Stats.Height != 360 {
		t.Errorf("the picture has %d×%d pixels", w.Stats.Width, w.Stats.Height)
	}
}

// probed is a stream that ffprobe has read and decoded.
type probed struct {
	Type       string `json:"codec_type"`
	Codec      string `json:"codec_name"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	SampleRate string `json:"sample_rate"`
	Frames     string `json:"nb_read_frames"`
}

// probe has ffprobe decode a few seconds of the demo entry, which has to have streams in these codecs and no others.
func probe(t *testing.T, p *process, codecs ...string) []probed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), ffprobe(t), "-v", "error", "-read_intervals", "%+4",
		"-show_entries", "stream=codec_type,codec_name,width,height,sample_rate,nb_read_frames", "-count_frames", "-of", "json", p.playlist("0_demolive"))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("ffprobe: %v\n%s", err, complaints.String())
	}
	var found struct{ Streams []probed }
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range found.Streams {
		names = append(names, s.Codec)
		if n, err := strconv.Atoi(s.Frames); err != nil || n < 60 {
			t.Errorf("%s has %s frames in 4 s", s.Codec, s.Frames)
		}
	}
	slices.Sort(names)
	slices.Sort(codecs)
	if !slices.Equal(names, codecs) {
		t.Errorf("ffprobe found %+v, want %q", found.Streams, codecs)
	}
	return found.Streams
}
