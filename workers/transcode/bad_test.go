package transcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// lockedBuffer takes log lines.
type lockedBuffer struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// program writes a shell script that stands for ffmpeg.
func program(t *testing.T, lines string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// spoil replaces the payloads of a clip's frames of one track.
func (c *clip) spoil(id media.TrackID, payload func(n int, p []byte) []byte) {
	n := 0
	for _, p := range c.parts {
		for i := range p.Frames {
			if f := &p.Frames[i]; f.Track == id {
				f.Payload = payload(n, f.Payload)
				n++
			}
		}
	}
}

// badRow is a way in which a segment can't be transcoded.
type badRow struct {
	name    string
	spoil   func(c *clip)
	change  func(c *Config)
	job     func(j *live.Job)
	want    string // of the reason
	counted string // in the metrics
	noInput bool
	again   bool // the dead letter's command fails again on its input
}

func badRows(t *testing.T) []badRow {
	real := needFFmpeg(t)
	noise := func(n int, p []byte) []byte { return []byte{0, 0, 0, 4, 0x65, 1, 2, byte(n)} }
	return []badRow{
		{name: "pictures of noise", spoil: func(c *clip) { c.spoil(media.VideoTrack, noise) }, want: "Invalid data found", counted: "error", again: true},
		{name: "half of the pictures damaged", spoil: func(c *clip) {
			c.spoil(media.VideoTrack, func(n int, p []byte) []byte {
				if n < 30 {
					return p
				}
				return noise(n, p)
			})
		}, want: "pictures", counted: "output"},
		{name: "no sound where some was promised", spoil: func(c *clip) {
			for _, p := range c.parts {
				p.Frames = slices.DeleteFunc(p.Frames, func(f media.Frame) bool { return f.Track == media.FirstAudioTrack })
			}
		}, want: "its sound has no frames", noInput: true},
		{name: "profile that is not decoded", spoil: func(c *clip) { // Extended, with data partitions
			c.spoil(media.VideoTrack, func(_ int, p []byte) []byte {
				p = slices.Clone(p)
				for b := p; len(b) > 4; b = b[4+binary.BigEndian.Uint32(b):] {
					b[4] = b[4]&0xe0 | 2
				}
				return p
			})
		}, want: "Error while decoding stream", counted: "error", again: true},
		{name: "pictures larger than an encoder takes", job: func(j *live.Job) { j.Video[0].Width, j.Video[0].Height = 16384, 16384 },
			want: "size 16384x16384 is invalid", counted: "error"},
		{name: "the encoder has gone", change: func(c *Config) {
			c.FFmpeg = program(t, `echo "Unknown encoder 'libx264'" >&2; exit 1`)
		}, want: "Unknown encoder 'libx264'", counted: "error", again: true},
		{name: "it crashes", change: func(c *Config) { c.FFmpeg = program(t, "kill -SEGV $$") }, want: "segmentation fault", counted: "error"},
		{name: "it hangs", change: func(c *Config) { c.FFmpeg = program(t, "exec sleep 60"); c.Stall = time.Second }, want: "did not advance", counted: "stalled"},
		{name: "it says nothing", change: func(c *Config) { c.FFmpeg = program(t, "cat >/dev/null") }, want: "moov", counted: "error"},
		{name: "another size comes out", change: func(c *Config) {
			c.FFmpeg = program(t, `for a in "$@"; do shift; set -- "$@" "$(echo "$a" | sed s/scale=160:90/scale=80:44/)"; done; exec `+real+` "$@"`)
		}, want: "is 80x44, want 160x90", counted: "output"},
		{name: "parts that have left the bus", job: func(j *live.Job) { j.LeadIn, j.First, j.Last = 900, 900, 901 }, want: "", noInput: true},
		{name: "too late", job: func(j *live.Job) { j.Deadline = time.Now().Add(-time.Second) }, want: "deadline", noInput: true},
	}
}

// TestBadInput holds what comes of segments that can't be transcoded: an end with the reason for
// each output, a line in the log that names them with the segment, and a job that rests among the
// dead with its input and the command that fails on it. The metrics count it by its reason.
func TestBadInput(t *testing.T) {
	t.Parallel()
	both := []string{"-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "2",
		"-c:v", "libx264", "-preset", "superfast", "-g", "60", "-c:a", "libopus"}
	clean := record(t, 2*time.Second, false, both...)
	for _, tt := range badRows(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clean
			if tt.spoil != nil {
				c = record(t, 2*time.Second, false, both...)
				tt.spoil(c)
			}
			g := newRig(t, c)
			var said lockedBuffer
			var dir string
			reg, spans := prometheus.NewRegistry(), tracetest.NewSpanRecorder()
			w := g.work(func(c *Config) {
				c.Tries, dir = 2, c.DeadDir
				c.Log = slog.New(slog.NewTextHandler(&said, nil))
				c.Registerer, c.Tracer = reg, sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("")
				if tt.change != nil {
					tt.change(c)
				}
			})
			job := c.job(0, []live.VideoJob{video(34, 160, 90, 400e3, "main")}, &live.AudioJob{Rendition: entry + "_a1", Bitrate: 64e3, SampleRate: 48000, Channels: 1})
			job.Deadline = time.Now().Add(time.Minute)
			if tt.job != nil {
				tt.job(&job)
			}
			g.put(job)
			failures := 0
			for _, name := range job.Outputs() {
				e := g.end(&job, name)
				if e.Failure == "" {
					continue // what is sound of it is made
				}
				failures++
				if !strings.Contains(e.Failure, tt.want) || e.Cause != rungFailed && e.Cause != rungLate {
					t.Errorf("%s ended with %q, %q; want %q", name, e.Cause, e.Failure, tt.want)
				}
			}
			if failures == 0 {
				t.Fatal("everything was made")
			}
			dead := g.deadJob()
			if line := said.String(); !strings.Contains(line, "could not be transcoded") || !strings.Contains(line, job.Name()) || !strings.Contains(line, dead.Job.Outputs()[0]) {
				t.Errorf("the log names no segment or rung:\n%s", line)
			}
			if tt.counted != "" {
				if n := testutil.ToFloat64(w.metrics.failures.WithLabelValues(tt.counted)); n != 2 {
					t.Errorf("%v failures are counted as %s, want 2", n, tt.counted)
				}
				if n := testutil.ToFloat64(w.metrics.restarts); n != 1 {
					t.Errorf("%v restarts, want 1", n)
				}
			}
			if ended := spans.Ended(); len(ended) == 0 || ended[len(ended)-1].Status().Description == "" {
				t.Errorf("%d spans, none with the reason", len(ended))
			}
			g.checkInput(dead, dir, tt.noInput, tt.again)
		})
	}
}

// deadJob waits for the job that was given up.
func (g *rig) deadJob() *live.DeadJob {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience())
	defer cancel()
	f := insist(ctx, g.t, func() (*bus.LogFollower, error) { return g.dead.Follow(ctx, entry, 0) })
	defer f.Close()
	r, err := f.Next(ctx)
	if err != nil {
		g.t.Fatalf("no job was given up: %v", err)
	}
	var d live.DeadJob
	if err := json.Unmarshal(r.Data, &d); err != nil || d.Reason == "" {
		g.t.Fatalf("dead job %s: %v", r.Data, err)
	}
	return &d
}

// checkInput holds that the dead job's input lies where it says, and that its command fails on it
// once more when it is to.
func (g *rig) checkInput(d *live.DeadJob, dir string, none, again bool) {
	g.t.Helper()
	if none {
		if d.Input != "" {
			g.t.Errorf("the input of a job that had none is %s", d.Input)
		}
		return
	}
	input, err := os.ReadFile(d.Input)
	if err != nil || len(input) == 0 || filepath.Dir(d.Input) != dir || len(d.Command) == 0 {
		g.t.Fatalf("input %q of %d bytes in %s, command %q: %v", d.Input, len(input), dir, d.Command, err)
	}
	if !again {
		return
	}
	args := d.Command
	if strings.Contains(d.Reason, "Unknown encoder") {
		args = strings.Split(strings.ReplaceAll(strings.Join(args, "\x00"), "libx264", "gone264"), "\x00")
	}
	cmd := exec.CommandContext(g.t.Context(), needFFmpeg(g.t), args...)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err == nil {
		g.t.Errorf("the dead job's command does not fail on its input: %d bytes come out", len(out))
	}
}

// TestDeadInputsAreBounded holds that the newest inputs of dead jobs are kept, and no more.
func TestDeadInputsAreBounded(t *testing.T) {
	dir := t.TempDir()
	w := &Worker{Config: Config{DeadDir: dir, Log: slog.New(slog.DiscardHandler)}}
	for n := range maxDead + 4 {
		j := &live.Job{Feed: live.Feed{FeedID: live.FeedID{Entry: entry}}, Start: media.Time(n+1) * 1e9}
		a := &attempt{w: w, job: j, log: w.Log, input: [][]byte{{1}}}
		name := a.keep()
		when := time.Now().Add(time.Duration(n-100) * time.Second)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.mp4"))
	if len(files) != maxDead {
		t.Errorf("%d inputs are kept, want %d", len(files), maxDead)
	}
	if _, err := os.Stat(filepath.Join(dir, entry+".1000000-0.mp4")); err == nil {
		t.Error("the oldest input is still there")
	}
}
