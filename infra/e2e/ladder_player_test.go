package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// leveled is what browser/ladder.mjs prints.
type leveled struct {
	Levels []struct{ Width, Height, Bitrate int }
	Visits []struct {
		Level, Waiting, Width, Height int
		Reached                       bool
		Fatal                         []string
	}
	Throttled []struct{ Rate, Level, Waiting int }
	Stats     watched
	Console   []string
}

// TestLadderPlayer plays each rendition of "Cloud transcode" in hls.js, by hand and over a slow
// network: every switch without a stall and without an error.
func TestLadderPlayer(t *testing.T) {
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	p := start(t, "KLIVE_TRANSCODE_PRESET="+lightPreset())
	e := controlPlane{p.client, p.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	encodeLive(t, fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, e.ID, e.Token, e.ID))
	// Players are sent there once the whole ladder holds what they stay behind.
	segments, visits, all := 5, 2, ""
	if proving() {
		segments, visits, all = 6, ladderRungs+1, "all"
	}
	rung := "http://" + p.http + "/kLive/" + e.ID + "_33/v.m3u8"
	p.wait(t, 60*time.Second, "the ladder", func() bool { return strings.Count(p.get(t.Context(), rung), "#EXTINF") >= segments })
	page := "http://" + p.admin + "/player.html?src=" + url.QueryEscape(p.playlist(e.ID))
	cmd := exec.CommandContext(t.Context(), node, "ladder.mjs", page, fmt.Sprint(length(20*time.Second, 2*time.Second).Seconds()), shots(t), all)
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
	if len(w.Levels) != ladderRungs+1 {
		t.Errorf("hls.js found %v", w.Levels)
	}
	for _, v := range w.Visits {
		t.Logf("%+v", v)
		if l := w.Levels[v.Level]; !v.Reached || v.Width != l.Width || v.Height != l.Height {
			t.Errorf("rendition %d is %d×%d; reached %v, with %d×%d", v.Level, l.Width, l.Height, v.Reached, v.Width, v.Height)
		}
	}
	for _, v := range w.Throttled {
		t.Logf("%+v", v)
	}
	if len(w.Visits) != visits {
		t.Errorf("%d renditions were played, want %d", len(w.Visits), visits)
	}
	if len(w.Throttled) == 2 && w.Levels[w.Throttled[0].Level].Bitrate > w.Levels[w.Throttled[1].Level].Bitrate {
		t.Errorf("over a slow network %+v were chosen of %+v", w.Throttled, w.Levels)
	}
	if w.Stats.Waiting > 0 || len(w.Stats.Fatal) > 0 || len(w.Console) > 0 {
		t.Errorf("%d waiting events; errors %q; the page said %q", w.Stats.Waiting, w.Stats.Errors, w.Console)
	}
	t.Logf("errors %q", w.Stats.Errors)
}
