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

// laden is a worker that is given more than it can do.
type laden struct {
	*rig
	clip   *clip
	rungs  []live.VideoJob
	starts string // when its runs of ffmpeg began, a line each
	jobs   int
}

// newLaden makes a worker to whom each rendition costs a fixed time, by a wrapper around ffmpeg.
func newLaden(t *testing.T) *laden {
	t.Helper()
	l := &laden{starts: filepath.Join(t.TempDir(), "starts")}
	l.clip = record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")
	l.rungs = []live.VideoJob{video(33, 160, 90, 200e3, "main"), video(34, 160, 90, 300e3, "main"), video(35, 160, 90, 400e3, "main")}
	wrapper := filepath.Join(t.TempDir(), "ffmpeg")
	script := "#!/bin/sh\ndate +%s.%N >>" + l.starts + "\nn=0\nfor a in \"$@\"; do [ \"$a\" = -map ] && n=$((n+4)); done\n" +
		"sleep $((n/10)).$((n%10))\nexec " + needFFmpeg(t) + " \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	l.rig = newRig(t, l.clip)
	l.work(func(c *Config) { c.FFmpeg = wrapper; c.Preset = "ultrafast" })
	return l
}

// order puts another job.
func (l *laden) order(deadline time.Time) *live.Job {
	j := l.clip.job(0, l.rungs, nil)
	j.Start += media.Time(l.jobs) * 1000 // a name of its own
	l.jobs++
	j.Deadline = deadline
	l.put(j)
	return &j
}

// gone are the renditions that a segment goes without, when it has ended.
func (l *laden) gone(j *live.Job) (list []string) {
	for _, r := range l.rungs {
		if e := l.end(j, r.Rendition); e.Failure != "" {
			list = append(list, r.Rendition[len(entry)+1:])
		}
	}
	return list
}

// whole waits for a segment that goes without nothing.
func (l *laden) whole(j *live.Job) {
	l.t.Helper()
	if list := l.gone(j); len(list) > 0 {
		l.t.Fatalf("a segment without load went without %v", list)
	}
}

// each is what a segment costs the worker, without the way to it and back: from one run to the
// next when some wait. The quickest is the measure: beside other tests one may take several times
// as long as the next, and what follows would be no load.
func (l *laden) each() time.Duration {
	l.t.Helper()
	before := len(l.runs())
	var jobs []*live.Job
	for range 5 {
		jobs = append(jobs, l.order(time.Now().Add(patience())))
	}
	for _, j := range jobs {
		l.whole(j)
	}
	each, runs := patience(), l.runs()[before:]
	for i := 1; i < len(runs); i++ {
		each = min(each, runs[i].Sub(runs[i-1]))
	}
	return each
}

// runs are when ffmpeg began.
func (l *laden) runs() (list []time.Time) {
	l.t.Helper()
	text, err := os.ReadFile(l.starts)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(text)) {
		seconds, err := strconv.ParseFloat(line, 64)
		if err != nil {
			l.t.Fatal(err)
		}
		list = append(list, time.UnixMicro(int64(seconds*1e6)))
	}
	return list
}

// TestOverload gives a worker twice what it can do, then little, and holds what it sheds: the
// highest rung first; and when the load has fallen, all are back. The stated three segments until
// they are back are held where nothing else runs on the machine.
func TestOverload(t *testing.T) {
	t.Parallel()
	l := newLaden(t)
	// By the first ones the worker learns how fast it is.
	cost := patience()
	for range 3 {
		began := time.Now()
		l.whole(l.order(began.Add(patience())))
		cost = min(cost, time.Since(began))
	}
	shed := 0
	for try := 0; shed == 0 && try < 3; try++ { // the machine may have become faster since it was measured
		each := l.each()
		var jobs []*live.Job
		for begin, i := time.Now(), 0; i < 14; i++ {
			due := begin.Add(time.Duration(i) * each / 2)
			time.Sleep(time.Until(due))
			jobs = append(jobs, l.order(due.Add(3*each))) // one that the queue takes late is due no later
		}
		for i, j := range jobs {
			list := l.gone(j)
			t.Logf("under twice the load, segment %d, each %v: without %v", i, each, list)
			if len(list) > 0 {
				shed++
			}
			if slices.Contains(list, "34") && !slices.Contains(list, "35") || slices.Contains(list, "33") && !slices.Contains(list, "34") {
				t.Errorf("segment %d went without %v: the highest goes first", i, list)
			}
		}
	}
	if shed == 0 {
		t.Error("nothing was shed under twice the load")
	}
	most := check.Length(3, 15)
	for i := range most + 1 {
		list := l.gone(l.order(time.Now().Add(6 * cost)))
		t.Logf("when the load has fallen, segment %d: without %v", i, list)
		if len(list) == 0 {
			return
		}
	}
	t.Errorf("the rungs are not back after %d segments", most)
}
