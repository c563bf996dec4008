package transcode

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

// TestJoinsDoNotPulse compares each picture of a rung with the source's: the first five of a
// segment are as good as its others.
func TestJoinsDoNotPulse(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", "mandelbrot=s=320x180:r=30:end_scale=0.01", "-t", length(),
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

// TestOverload gives a worker twice what it can do, then a little, and holds what it sheds: the
// highest rung first, the lowest never while there is time, and all are back within three
// segments when the load has fallen. Each rendition costs a fixed time by a wrapper.
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
	var jobs []live.Job
	order := func(pause time.Duration, budget time.Duration) {
		j := c.job(0, rungs, nil)
		j.Start += media.Time(len(jobs)) * 1000 // a name of its own
		j.Deadline = time.Now().Add(budget)
		jobs = append(jobs, j)
		g.put(j)
		time.Sleep(pause)
	}
	order(3*time.Second, time.Minute) // by it the worker learns how fast it is
	const busy, calm = 11, 5
	for range busy { // a job costs 1.2 s and more
		order(600*time.Millisecond, 4*time.Second)
	}
	for range calm {
		order(2200*time.Millisecond, 6*time.Second)
	}
	shed := 0
	for n := range jobs {
		gone := map[string]bool{}
		for _, r := range rungs {
			if e := g.end(&jobs[n], r.Rendition); e.Failure != "" {
				gone[r.Rendition[len(entry)+1:]] = true
			}
		}
		t.Logf("job %d: without %v", n, gone)
		if gone["34"] && !gone["35"] || gone["33"] && !gone["34"] {
			t.Errorf("job %d went without %v: the highest goes first", n, gone)
		}
		switch {
		case n == 0 || n >= 1+busy+3:
			if len(gone) > 0 {
				t.Errorf("job %d went without %v while there was time", n, gone)
			}
		case len(gone) > 0:
			shed++
		}
	}
	if shed < 3 {
		t.Errorf("only %d segments were shed under twice the load", shed)
	}
}
