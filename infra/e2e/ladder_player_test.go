package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leveled is what browser/ladder.mjs prints.
type leveled struct {
	Levels []struct{ Width, Height, Bitrate int }
	Visits []struct {
		Level, Waited, Width, Height int
		Reached                      bool
	}
	Throttled []struct{ Rate, Wanted, Level, Waited, Width, Height, Took int }
	Stats     watched
	Console   []string
}

// motion is a clip of real motion, in the tests of a library that klive uses: ten seconds of Big
// Buck Bunny (© Blender Foundation, CC BY 3.0).
func motion(t testing.TB) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), tool(t, "go", "install Go"), "list", "-m", "-f", "{{.Dir}}", "github.com/Eyevinn/mp4ff").Output()
	file := filepath.Join(strings.TrimSpace(string(dir)), "mp4/testdata/bbb_prog_10s.mp4")
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		t.Skipf("SKIP: no clip of real motion: %v", err)
	}
	return file
}

// TestLadderPlayer plays each rendition of "Cloud transcode" in hls.js, by hand and over a network
// that gets slower and slower: every rendition is reached, every switch without a stall and without
// an error.
func TestLadderPlayer(t *testing.T) {
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	p := start(t, "KLIVE_TRANSCODE_PRESET="+lightPreset())
	e := controlPlane{p.client, p.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	runEncoder(t, []string{"-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", motion(t), "-vf", "scale=640:360,setsar=1,fps=30",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-b:v", "1500k", "-minrate", "1500k", "-maxrate", "1500k", "-bufsize", "1500k",
		"-c:a", "aac", "-b:a", "96k", "-f", "flv", fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, e.ID, e.Token, e.ID)})
	// Players are sent there once the whole ladder holds what they stay behind.
	segments, visits, throttled, all := 5, 2, 0, ""
	if proving() {
		segments, visits, throttled, all = 6, ladderRungs+1, ladderRungs+2, "all"
	}
	rung := "http://" + p.http + "/kLive/" + e.ID + "_33/v.m3u8"
	p.wait(t, 60*time.Second, "the ladder", func() bool { return strings.Count(p.get(t.Context(), rung), "#EXTINF") >= segments })
	cmd := exec.CommandContext(t.Context(), node, "ladder.mjs", "http://"+p.admin, p.playlist(e.ID), fmt.Sprint(length(20*time.Second, 2*time.Second).Seconds()), shots(t), all)
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var w leveled
	if err == nil {
		err = json.Unmarshal(out, &w)
	}
	if err != nil {
		t.Fatalf("the browser: %v\n%s\n%s\n%s", err, out, complaints.String(), p.log)
	}
	t.Logf("renditions %+v", w.Levels)
	if len(w.Levels) != ladderRungs+1 {
		t.Fatalf("hls.js found %v", w.Levels)
	}
	for _, v := range w.Visits {
		t.Logf("by hand: %+v", v)
		if l := w.Levels[v.Level]; !v.Reached || v.Width != l.Width || v.Height != l.Height || v.Waited > 0 {
			t.Errorf("rendition %d is %d×%d; reached %v, with %d×%d and %d waits", v.Level, l.Width, l.Height, v.Reached, v.Width, v.Height, v.Waited)
		}
	}
	for _, v := range w.Throttled {
		t.Logf("by the network: %+v", v)
		if v.Level != v.Wanted || v.Waited > 0 {
			t.Errorf("a network of %d bit/s brought rendition %d with %d waits, want %d without", v.Rate, v.Level, v.Waited, v.Wanted)
		}
	}
	if len(w.Visits) != visits || len(w.Throttled) != throttled {
		t.Errorf("%d renditions by hand and %d by the network, want %d and %d", len(w.Visits), len(w.Throttled), visits, throttled)
	}
	if w.Stats.Waiting > 0 || len(w.Stats.Fatal) > 0 || len(w.Console) > 0 {
		t.Errorf("%d waiting events; errors %q; the page said %q", w.Stats.Waiting, w.Stats.Errors, w.Console)
	}
	t.Logf("errors %q", w.Stats.Errors)
}
