package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// bitrates are the pictures of one encoder's streams, by suffix from 1.
var bitrates = []struct{ width, height int }{{640, 360}, {320, 180}, {160, 90}}

// encodeBitrates runs one ffmpeg that publishes the demo entry in all bitrates until the test
// ends.
func encodeBitrates(t *testing.T, p *process) {
	t.Helper()
	var split, scales string
	args := []string{"-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=640x360:rate=%d", fps),
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"}
	for i, b := range bitrates {
		split += fmt.Sprintf("[s%d]", i)
		scales += fmt.Sprintf(";[s%d]scale=%d:%d[v%d]", i, b.width, b.height, i)
	}
	args = append(args, "-filter_complex", fmt.Sprintf("[0:v]split=%d%s%s", len(bitrates), split, scales))
	address, _ := strings.CutSuffix(p.demo(), "_1")
	for i, b := range bitrates {
		args = append(args, "-map", fmt.Sprintf("[v%d]", i), "-map", "1:a",
			"-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0",
			"-b:v", fmt.Sprint(b.width*b.height*4), "-c:a", "aac", "-b:a", "96k", "-f", "flv", fmt.Sprintf("%s_%d", address, i+1))
	}
	runEncoder(t, args)
}

// TestBitratesOfOneEncoder publishes three bitrates of one encoder: their segments begin
// together, one multivariant playlist offers them all, and hls.js switches through them without
// a stall; in short runs one look of three has to be without.
func TestBitratesOfOneEncoder(t *testing.T) {
	beside(t)
	p := start(t)
	encodeBitrates(t, p)
	follower := followBeside(t, p, "0_demolive")
	waitLive(t, p)
	p.wait(t, 20*time.Second, "all bitrates", func() bool {
		return strings.Count(p.get(t.Context(), p.playlist("0_demolive")), "#EXT-X-STREAM-INF") == len(bitrates)
	})
	for try, looks := 1, int(length(2, 3)); ; try++ {
		w := switchLevels(t, p, length(30*time.Second, 3*time.Second))
		if w.stalls() > 0 && try < looks {
			t.Log("the picture stood still; looking again, as a busy machine does that too")
			continue
		}
		w.check(t)
		break
	}
	startTogether(t, follower(), time.Second/fps)
	if n := len(p.log.with("registered with Kaltura", "0_demolive")); n != 1 {
		t.Errorf("the entry was registered %d times", n)
	}
}

// followBeside follows an entry's playlists while the test does other things; done ends that.
func followBeside(t *testing.T, p *process, entry string) (done func() *check.Follower) {
	t.Helper()
	f, err := check.Follow(p.client, p.playlist(entry))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := f.Poll(ctx); err != nil && !errors.Is(err, check.ErrNoPlaylist) && ctx.Err() == nil {
				t.Errorf("the playlists: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	done = func() *check.Follower { cancel(); wg.Wait(); return f }
	t.Cleanup(func() { done() })
	return done
}

// startTogether holds that the segments of all video renditions begin within a frame of each
// other; frame is how long one lasts.
func startTogether(t *testing.T, f *check.Follower, frame time.Duration) {
	t.Helper()
	if err := f.Rules.Err(); err != nil {
		t.Error(err)
	}
	var starts [][]time.Time
	for _, r := range f.Renditions {
		if r.Kind != media.Video {
			continue
		}
		var list []time.Time
		for _, item := range r.Items {
			if len(item.Units) > 0 {
				list = append(list, media.TimeFromTicks(item.Units[0].PTS, item.Units[0].Rate).Std())
			}
		}
		starts = append(starts, list)
	}
	if len(starts) != len(bitrates) {
		t.Fatalf("%d video renditions", len(starts))
	}
	from, to := starts[0][0], starts[0][len(starts[0])-1]
	for _, list := range starts[1:] {
		from, to = later(from, list[0]), earlier(to, list[len(list)-1])
	}
	var widest time.Duration
	common := 0
	for _, at := range starts[0] {
		if at.Before(from.Add(-frame)) || at.After(to.Add(frame)) {
			continue
		}
		common++
		for _, list := range starts[1:] {
			nearest := slices.MinFunc(list, func(a, b time.Time) int { return int(a.Sub(at).Abs() - b.Sub(at).Abs()) })
			widest = max(widest, nearest.Sub(at).Abs())
		}
	}
	t.Logf("%d segments in common; they begin at most %v apart", common, widest)
	if common < 5 || widest > frame {
		t.Errorf("%d segments in common begin up to %v apart, want at least 5 within %v", common, widest, frame)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// switched is what browser/levels.mjs prints.
type switched struct {
	Levels int
	Visits []struct {
		Level, Width, Height, Waiting, Decoded int
		Took                                   float64 // ms; -1 when the level did not come
		Seconds                                float64 // that were played
	}
	Stats   watched
	Console []string
}

// switchLevels has a browser play every level for a while.
func switchLevels(t *testing.T, p *process, each time.Duration) switched {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	page := "http://" + p.admin + "/player.html?src=" + url.QueryEscape(p.playlist("0_demolive"))
	cmd := exec.CommandContext(t.Context(), node, "levels.mjs", page, fmt.Sprint(each.Seconds()), filepath.Join(shots(t), "levels.png"))
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser: %v\n%s\n%s\n%s", err, out, complaints.String(), p.log)
	}
	var w switched
	if err := json.Unmarshal(out, &w); err != nil {
		t.Fatalf("the browser printed %q: %v", out, err)
	}
	for _, v := range w.Visits {
		t.Logf("level %d, %d×%d: there after %.0f ms, %.1f s played, %d frames, %d waiting", v.Level, v.Width, v.Height, v.Took, v.Seconds, v.Decoded, v.Waiting)
	}
	return w
}

func (w *switched) stalls() (n int) {
	for _, v := range w.Visits {
		n += v.Waiting
	}
	return n
}

func (w *switched) check(t *testing.T) {
	t.Helper()
	if w.Levels != len(bitrates) || len(w.Visits) != len(bitrates)+1 || w.Stats.Engine != "hls.js" {
		t.Errorf("%s found %d levels and played %d", w.Stats.Engine, w.Levels, len(w.Visits))
	}
	if w.stalls() > 0 || len(w.Stats.Fatal) > 0 {
		t.Errorf("%d waiting events; errors %q; the page said %q", w.stalls(), w.Stats.Errors, w.Console)
	}
	seen := map[int]bool{}
	for i, v := range w.Visits {
		if v.Took < 0 || v.Level != i%len(bitrates) {
			t.Errorf("level %d was to be played, it is %d", i%len(bitrates), v.Level)
		}
		if v.Decoded == 0 || v.Seconds <= 0 {
			t.Errorf("level %d: %d frames in %.1f s of media", v.Level, v.Decoded, v.Seconds)
		}
		seen[v.Width] = true
	}
	for _, b := range bitrates {
		if !seen[b.width] {
			t.Errorf("the picture of %d×%d was never shown", b.width, b.height)
		}
	}
}
