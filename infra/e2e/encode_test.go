package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"klive/infra/publisher"
)

// x264Clip is a clip by a real encoder with B-frames, 29.97 fps and 44.1 kHz audio. Its
// pictures begin late seconds after the sound.
func x264Clip(t testing.TB, seconds, late string) *publisher.Clip {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.flv")
	cmd := exec.CommandContext(t.Context(), ffmpeg(t), "-loglevel", "error", "-nostdin",
		"-itsoffset", late, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30000/1001", "-f", "lavfi", "-i", "anoisesrc=sample_rate=44100:amplitude=0.1",
		"-t", seconds, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-b_strategy", "0", "-g", "60", "-sc_threshold", "0",
		"-pix_fmt", "yuv420p", "-b:v", "1M", "-c:a", "aac", "-b:a", "96k", "-f", "flv", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := publisher.ReadFLV(b, 30000, 1001)
	if err != nil {
		t.Fatal(err)
	}
	return clip
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
