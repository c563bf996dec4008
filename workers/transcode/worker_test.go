package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a bus with a clip on it.
type rig struct {
	t     testing.TB
	media bus.Media
	queue *bus.Queue
	ends  *bus.Log
	dead  *bus.Log
}

func newRig(t testing.TB, clips ...*clip) *rig {
	t.Helper()
	c := bustest.Start(t)
	g := &rig{t: t}
	ring := bus.NewRing(bus.RingConfig{MaxBytes: 512 << 20, MaxTotalBytes: 1 << 30, MaxAge: time.Hour})
	t.Cleanup(ring.Close)
	g.media = ring
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	g.queue = insist(ctx, t, func() (*bus.Queue, error) {
		return c.Queue(ctx, bus.QueueConfig{Name: live.JobsQueue, MaxAge: time.Hour})
	})
	g.ends = insist(ctx, t, func() (*bus.Log, error) { return c.Log(ctx, bus.LogConfig{Name: live.RungsLog}) })
	g.dead = insist(ctx, t, func() (*bus.Log, error) { return c.Log(ctx, bus.LogConfig{Name: live.DeadLog}) })
	for _, clip := range clips {
		for _, p := range clip.parts {
			if _, err := g.media.Publish(t.Context(), clip.feed.Subject(), p.ID(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return g
}

// insist asks the bus until it answers: on a machine with too much to do that may take longer than
// one request waits.
func insist[T any](ctx context.Context, t testing.TB, ask func() (T, error)) T {
	t.Helper()
	for {
		got, err := ask()
		if err == nil {
			return got
		}
		if !errors.Is(err, bus.ErrUnavailable) || ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// work runs a worker until the test ends.
func (g *rig) work(change func(*Config)) *Worker {
	g.t.Helper()
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	c := Config{Name: "w", Queue: g.queue, Ends: g.ends, Dead: g.dead, Media: g.media, FFmpeg: needFFmpeg(g.t), Encoder: Encoders()[0],
		Preset: "superfast", Jobs: 1, Threads: 1, DeadDir: g.t.TempDir(), Memory: 4 << 30, Stall: patience(), Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&c)
	}
	w, err := New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	g.t.Cleanup(func() { cancel(); <-done })
	return w
}

func (g *rig) put(j live.Job) {
	g.t.Helper()
	data, err := j.Marshal()
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), patience())
	defer cancel()
	insist(ctx, g.t, func() (struct{}, error) { return struct{}{}, g.queue.Put(ctx, j.ID(), data) })
}

// end waits for an output's end.
func (g *rig) end(j *live.Job, rendition string) live.JobEnd {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience())
	defer cancel()
	f := insist(ctx, g.t, func() (*bus.LogFollower, error) { return g.ends.Follow(ctx, j.EndSubject(rendition), 0) })
	defer f.Close()
	r, err := f.Next(ctx)
	if err != nil {
		g.t.Fatalf("no end of %s of %s: %v", rendition, j.ID(), err)
	}
	e, err := live.UnmarshalJobEnd(r.Data)
	if err != nil {
		g.t.Fatal(err)
	}
	return e
}

// result reads what an output's end names.
func (g *rig) result(j *live.Job, rendition string) *live.Assembly {
	g.t.Helper()
	e := g.end(j, rendition)
	if e.Failure != "" {
		g.t.Fatalf("%s of %s: %s", rendition, j.ID(), e.Failure)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), patience())
	defer cancel()
	f, err := g.media.Follow(ctx, live.RungSubject(entry, rendition, e.Attempt), 1)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	a, err := live.Gather(ctx, func(ctx context.Context) (uint64, *live.Part, error) {
		m, err := f.Next(ctx)
		if err != nil {
			return 0, nil, err
		}
		return m.Seq, m.Body.(*live.Part), nil
	}, 1, e.Parts, 0)
	if err != nil || !a.Complete() {
		g.t.Fatalf("%s of %s: %v", rendition, j.ID(), err)
	}
	return a
}

func video(id, width, height, bitrate int, profile string) live.VideoJob {
	return live.VideoJob{Rendition: fmt.Sprintf("%s_%d", entry, id), Profile: profile, Level: 30, Width: width, Height: height,
		Bitrate: bitrate, Most: bitrate * 11 / 10, Buffer: bitrate / 5}
}

// length is how much of a clip is tested, in seconds.
func length() string {
	if check.Proving() {
		return "300"
	}
	return "6.5"
}

// patience is how long all jobs of a test may take together on a machine that has other things to do.
func patience() time.Duration {
	return check.Length(30*time.Minute, 8*time.Minute)
}

const (
	testVideo = "testsrc2=s=320x180:r=30"
	ntsc      = "testsrc2=s=320x180:r=30000/1001"
)

// TestClips lets two workers make the segments of real clips in any order, a part of the jobs
// taken first by a worker that dies, and holds the results against the sources: each picture
// at its time, a keyframe first, one set of parameters, and segments that join.
func TestClips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		forced bool
		skip   int
		args   []string
	}{
		{name: "closed GOP, B-pyramid", args: []string{"-f", "lavfi", "-i", testVideo, "-t", length(), "-c:v", "libx264", "-preset", "faster", "-g", "60", "-bf", "3", "-x264-params", "scenecut=0:b-pyramid=normal"}},
		{name: "29.97, irregular keyframes, half the frames", skip: 1, args: []string{"-f", "lavfi", "-i", ntsc, "-t", length(), "-c:v", "libx264", "-preset", "superfast", "-bf", "2", "-force_key_frames", "expr:gte(t,n_forced*1.3+0.6*mod(n_forced,2))"}},
		{name: "variable frame rate", args: []string{"-f", "lavfi", "-i", testVideo, "-vf", `select=not(mod(n*n\,3))`, "-vsync", "0", "-t", length(), "-c:v", "libx264", "-preset", "superfast", "-g", "20", "-bf", "2"}},
		{name: "no keyframe but the first", forced: true, args: []string{"-f", "lavfi", "-i", testVideo, "-t", "8", "-c:v", "libx264", "-preset", "superfast", "-g", "9999", "-bf", "2", "-x264-params", "scenecut=0"}},
		{name: "open GOP", forced: true, args: []string{"-f", "lavfi", "-i", testVideo, "-t", "8", "-c:v", "libx264", "-preset", "superfast", "-g", "60", "-bf", "2", "-x264-params", "open-gop=1:scenecut=0"}},
		{name: "HEVC", args: []string{"-f", "lavfi", "-i", testVideo, "-t", length(), "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=60:open-gop=0:log-level=none:bframes=2"}},
		{name: "10 bit, 4:2:2", args: []string{"-f", "lavfi", "-i", testVideo, "-t", "3", "-pix_fmt", "yuv422p10le", "-c:v", "libx264", "-preset", "superfast", "-g", "60"}},
		{name: "odd size", args: []string{"-f", "lavfi", "-i", "testsrc=s=199x111:r=25", "-t", "3", "-pix_fmt", "yuv444p", "-c:v", "libx264", "-preset", "superfast", "-g", "50"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := record(t, 2*time.Second, tt.forced, tt.args...)
			g := newRig(t, c)
			rungs := []live.VideoJob{video(34, 160, 90, 400e3, "high"), video(33, 128, 72, 120e3, "main"), video(35, 96, 54, 80e3, "baseline")}
			for i := range rungs {
				rungs[i].Skip = tt.skip
			}
			var jobs []live.Job
			for n := range c.segs {
				jobs = append(jobs, c.job(n, rungs, nil))
			}
			for _, n := range rand.Perm(len(jobs)) {
				g.put(jobs[n])
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience())
			defer cancel()
			insist(ctx, t, func() (*bus.Task, error) { return g.queue.Take(ctx) }) // by a worker that dies with it
			g.work(nil)
			g.work(func(c *Config) { c.Threads = 2 })
			for _, r := range rungs {
				g.audit(c, jobs, r)
			}
		})
	}
}

// audit holds a rendition's segments against the clip.
func (g *rig) audit(c *clip, jobs []live.Job, r live.VideoJob) {
	g.t.Helper()
	var end media.Time
	var params media.Params
	for n := range jobs {
		a := g.result(&jobs[n], r.Rendition)
		tr, _ := a.Track(media.Video)
		frames := a.Frames(tr.ID)
		if params == nil {
			params = tr.Params
			if got := params.CodecString(); got != r.CodecString() {
				g.t.Errorf("%s is %s, announced as %s", r.Rendition, got, r.CodecString())
			}
		}
		if !params.Equal(tr.Params) {
			g.t.Errorf("segment %d of %s has other parameters", n, r.Rendition)
		}
		var shown, want []media.Time
		size := 0
		for _, f := range frames {
			shown = append(shown, f.PTS)
			size += len(f.Payload)
		}
		slices.Sort(shown)
		for i, at := range c.shown(n) {
			if i%(r.Skip+1) == 0 {
				want = append(want, at)
			}
		}
		if !slices.Equal(shown, want) {
			g.t.Errorf("segment %d of %s shows %d pictures, want %d", n, r.Rendition, len(shown), len(want))
		}
		if !frames[0].Key || frames[0].PTS != want[0] {
			g.t.Errorf("segment %d of %s begins without a keyframe", n, r.Rendition)
		}
		if n > 0 && frames[0].DTS != end {
			g.t.Errorf("segment %d of %s is decoded from %v on, the one before to %v", n, r.Rendition, frames[0].DTS.Std(), end.Std())
		}
		for i, f := range frames {
			if f.DTS > f.PTS || i > 0 && f.DTS <= frames[i-1].DTS {
				g.t.Fatalf("segment %d of %s: picture %d is decoded at %v and shown at %v", n, r.Rendition, i, f.DTS.Std(), f.PTS.Std())
			}
		}
		end = frames[len(frames)-1].DTS.Add(frames[len(frames)-1].Duration)
		// The buffer is full when a segment begins; the encoder misses its aim by a few percent.
		seconds := a.Duration().Seconds()
		if bits, most := float64(size)*8, (float64(r.Most)*seconds+float64(r.Buffer))*1.03; bits > most && seconds > 1.9 {
			g.t.Errorf("segment %d of %s has %.0f bits in %.2f s, at most %.0f are allowed", n, r.Rendition, bits, seconds, most)
		}
	}
}

// TestHang holds that an ffmpeg that does not advance, or that is not there, costs a try and
// nothing else.
func TestHang(t *testing.T) {
	sh := filepath.Join(t.TempDir(), "hangs")
	if err := os.WriteFile(sh, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := process{path: sh, stall: 2 * time.Second}
	began := time.Now()
	if _, err := p.run(t.Context(), [][]byte{make([]byte, 1<<20)}); !errors.Is(err, ErrFFmpeg) || !strings.Contains(err.Error(), "advance") {
		t.Errorf("%v", err)
	}
	if time.Since(began) > 20*time.Second {
		t.Errorf("it took %v", time.Since(began))
	}
	p.path = filepath.Join(t.TempDir(), "missing")
	if _, err := p.run(t.Context(), nil); !errors.Is(err, ErrFFmpeg) || !strings.Contains(err.Error(), "transcode.ffmpeg") {
		t.Errorf("%v", err)
	}
	if _, err := Choose(t.Context(), p.path, "libx264"); err == nil || !strings.Contains(err.Error(), "transcode.ffmpeg") {
		t.Errorf("%v", err)
	}
	if _, err := Choose(t.Context(), p.path, "h264_magic"); err == nil || !strings.Contains(err.Error(), "h264_nvenc") {
		t.Errorf("%v", err)
	}
}

// TestWorkerWithoutFFmpeg: a worker whose ffmpeg has gone takes no more jobs, and gives the one it has back to those that
// have one.
func TestWorkerWithoutFFmpeg(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-t", "2.5", "-c:v", "libx264", "-preset", "superfast", "-g", "60")
	g := newRig(t, c)
	metrics := prometheus.NewRegistry()
	w, err := New(Config{Name: "w", Queue: g.queue, Ends: g.ends, Dead: g.dead, Media: g.media, FFmpeg: "/nowhere/ffmpeg", Encoder: Encoders()[0], Jobs: 2, Registerer: metrics})
	if err != nil {
		t.Fatal(err)
	}
	j := c.job(0, []live.VideoJob{video(33, 128, 72, 120e3, "main")}, nil)
	g.put(j)
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	if err := w.Run(ctx); !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), "set transcode.ffmpeg") {
		t.Errorf("the worker ended with %v", err)
	}
	if n := testutil.ToFloat64(w.metrics.failures.WithLabelValues("start")); n != 1 {
		t.Errorf("%v runs of ffmpeg are counted as not started, want 1", n)
	}
	g.work(nil)
	g.result(&j, j.Video[0].Rendition)
}

func TestShed(t *testing.T) {
	all := []live.VideoJob{video(33, 640, 360, 600e3, "main"), video(35, 1280, 720, 2e6, "main"), video(34, 854, 480, 1e6, "main")}
	p := pace{}
	if keep, gone := p.shed(all, 1280*720, 120, 0); len(keep) != 3 || len(gone) != 0 {
		t.Errorf("a worker that knows nothing sheds %v", gone)
	}
	p.add(workOf(1280*720, all, 120), 4*time.Second)
	for left, want := range map[time.Duration]string{5 * time.Second: "[]", 3 * time.Second: "[35]", 1500 * time.Millisecond: "[35 34]", 0: "[35 34]"} {
		keep, gone := p.shed(slices.Clone(all), 1280*720, 120, left)
		var ids []string
		for _, v := range gone {
			ids = append(ids, strings.TrimPrefix(v.Rendition, entry+"_"))
		}
		if fmt.Sprint(ids) != want || len(keep)+len(gone) != 3 {
			t.Errorf("with %v left %v go, want %s", left, ids, want)
		}
	}
}
