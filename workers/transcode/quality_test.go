package transcode

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

// TestJoinsDoNotPulse compares each picture of a rung with the source's: the first five of a
// segment are as good as its others.
func TestJoinsDoNotPulse(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", "mandelbrot=s=320x180:r=30:end_scale=0.01", "-t", "8",
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p", "-g", "60", "-x264-params", "scenecut=0")
	g := newRig(t, c)
	r := video(34, 320, 180, 500e3, "main")
	var jobs []live.Job
	for n := range c.segs {
		jobs = append(jobs, c.job(n, []live.VideoJob{r}, nil))
		g.put(jobs[n])
	}
	g.work(func(c *Config) { c.Preset = "veryfast" })
	var source, rung mp4.Stream
	var sizes []int
	for n := range jobs {
		a := g.result(&jobs[n], r.Rendition)
		rung.Track, _ = a.Track(media.Video)
		frames := a.Frames(rung.Track.ID)
		rung.Frames = append(rung.Frames, frames...)
		sizes = append(sizes, len(frames))
	}
	source.Track = c.parts[0].Segment.Tracks[0]
	source.Frames = stream(source.Track, c.parts).Frames
	ssim := compare(t, rung, source)
	if len(ssim) != len(rung.Frames) {
		t.Fatalf("%d pictures were compared of %d", len(ssim), len(rung.Frames))
	}
	worst := 0.0
	for n, count := range sizes {
		list := ssim[:count]
		ssim = ssim[count:]
		if off := mean(list) - mean(list[:5]); off > worst {
			worst = off
		}
		if off := mean(list) - mean(list[:5]); off > 0.02 {
			t.Errorf("segment %d: SSIM %.4f in its first five pictures, %.4f in all", n, mean(list[:5]), mean(list))
		}
	}
	t.Logf("the first five pictures of a segment are at most %.4f below its mean", worst)
}

func mean(list []float64) (m float64) {
	for _, v := range list {
		m += v / float64(len(list))
	}
	return m
}

var ssimAll = regexp.MustCompile(`All:([0-9.]+)`)

// compare returns the SSIM of each picture of two tracks.
func compare(t *testing.T, a, b mp4.Stream) (out []float64) {
	t.Helper()
	args := []string{"-nostdin", "-hide_banner", "-loglevel", "error"}
	for i, s := range []mp4.Stream{a, b} {
		file, err := mp4.File([]mp4.Stream{s}, s.Frames[0].DTS/1e9*1e9)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.mp4", i))
		if err := os.WriteFile(name, bytes.Join(file, nil), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-i", name)
	}
	cmd := exec.CommandContext(t.Context(), needFFmpeg(t), append(args, "-lavfi", "[0:v]setpts=N[x];[1:v]setpts=N[y];[x][y]ssim=stats_file=-", "-f", "null", "-")...)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if m := ssimAll.FindStringSubmatch(line); m != nil {
			v, _ := strconv.ParseFloat(m[1], 64)
			out = append(out, v)
		}
	}
	return out
}

// TestOverload gives a worker twice what it can do, then little, and holds what it sheds: the
// highest rung first; and when the load has fallen, all are back. Each rendition costs a fixed
// time by a wrapper. The stated three segments until they are back are held where nothing else
// runs on the machine.
func TestOverload(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")
	wrapper := filepath.Join(t.TempDir(), "ffmpeg")
	script := "#!/bin/sh\nn=0\nfor a in \"$@\"; do [ \"$a\" = -map ] && n=$((n+4)); done\nsleep $((n/10)).$((n%10))\nexec " + needFFmpeg(t) + " \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	rungs := []live.VideoJob{video(33, 160, 90, 200e3, "main"), video(34, 160, 90, 300e3, "main"), video(35, 160, 90, 400e3, "main")}
	g := newRig(t, c)
	g.work(func(c *Config) { c.FFmpeg = wrapper; c.Preset = "ultrafast" })
	n := 0
	order := func(budget time.Duration) *live.Job {
		j := c.job(0, rungs, nil)
		j.Start += media.Time(n) * 1000 // a name of its own
		n++
		j.Deadline = time.Now().Add(budget)
		g.put(j)
		return &j
	}
	gone := func(j *live.Job) (list []string) {
		for _, r := range rungs {
			if e := g.end(j, r.Rendition); e.Failure != "" {
				list = append(list, r.Rendition[len(entry)+1:])
			}
		}
		return list
	}
	// By the first ones the worker learns how fast it is. The quickest is the measure: beside other tests one may take
	// several times as long as the next, and what follows would be no load.
	cost := time.Minute
	for range 3 {
		began := time.Now()
		if list := gone(order(time.Minute)); len(list) > 0 {
			t.Fatalf("a segment without load went without %v", list)
		}
		cost = min(cost, time.Since(began))
	}
	var jobs []*live.Job
	for range 14 {
		jobs = append(jobs, order(3*cost))
		time.Sleep(cost / 2)
	}
	shed := 0
	for i, j := range jobs {
		list := gone(j)
		t.Logf("under twice the load, segment %d: without %v", i, list)
		if len(list) > 0 {
			shed++
		}
		if slices.Contains(list, "34") && !slices.Contains(list, "35") || slices.Contains(list, "33") && !slices.Contains(list, "34") {
			t.Errorf("segment %d went without %v: the highest goes first", i, list)
		}
	}
	if shed == 0 {
		t.Error("nothing was shed under twice the load")
	}
	most := check.Length(3, 15)
	for i := range most + 1 {
		list := gone(order(6 * cost))
		t.Logf("when the load has fallen, segment %d: without %v", i, list)
		if len(list) == 0 {
			return
		}
	}
	t.Errorf("the rungs are not back after %d segments", most)
}
