package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"klive/infra/publisher"
)

// encoded is a clip by a real encoder with B-frames, 29.97 fps and 44.1 kHz audio, made once for all tests. Its pictures begin late
// seconds after the sound.
type encoded struct {
	seconds, late string
	once          sync.Once
	clip          *publisher.Clip
	err           error
}

var theClip = encoded{seconds: "12", late: "0"}

// x264Clip is the clip that tests share.
func x264Clip(t testing.TB) *publisher.Clip {
	t.Helper()
	return theClip.encode(t)
}

func (e *encoded) encode(t testing.TB) *publisher.Clip {
	t.Helper()
	program := ffmpeg(t)
	e.once.Do(func() {
		cmd := exec.Command(program, "-loglevel", "error", "-nostdin",
			"-itsoffset", e.late, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30000/1001", "-f", "lavfi", "-i", "anoisesrc=sample_rate=44100:amplitude=0.1",
			"-t", e.seconds, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-b_strategy", "0", "-g", "60", "-sc_threshold", "0",
			"-pix_fmt", "yuv420p", "-b:v", "1M", "-c:a", "aac", "-b:a", "96k", "-f", "flv", "-flvflags", "no_duration_filesize", "pipe:1")
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		file, err := cmd.Output()
		if err != nil {
			e.err = fmt.Errorf("ffmpeg: %w\n%s", err, complaints.Bytes())
			return
		}
		e.clip, e.err = publisher.ReadFLV(file, 30000, 1001)
	})
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e.clip
}

// encodeLive runs ffmpeg as an encoder until the test ends: x264 and AAC in real time.
// output is what comes behind "-f flv".
func encodeLive(t testing.TB, output ...string) {
	t.Helper()
	args := append([]string{"-loglevel", "error", "-nostdin",
		"-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-b:v", "1M",
		"-c:a", "aac", "-b:a", "96k", "-f", "flv"}, output...)
	runEncoder(t, args)
}

// runEncoder runs ffmpeg until the test ends.
func runEncoder(t testing.TB, args []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, ffmpeg(t), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ffmpeg said: %s", complaints.Bytes())
		}
	})
}
