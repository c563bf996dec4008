package controlplane

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"klive/infra/config"
)

// ffmpegWait bounds one run, patientWait one that encodes behind all else.
const (
	ffmpegWait  = 30 * time.Minute
	patientWait = 2 * time.Hour
)

// haste says how a program shares the processor.
type haste int

const (
	// prompt runs like all else, patient behind it.
	prompt haste = iota
	patient
)

func (s *Server) ffmpeg(ctx context.Context, h haste, in io.Reader, out io.Writer, args ...string) error {
	wait := ffmpegWait
	if h == patient {
		wait = patientWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.config.FFmpeg, append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y"}, args...)...)
	cmd.Stdin, cmd.Stdout = in, out
	cmd.Env = config.ChildEnviron()
	cmd.WaitDelay = 5 * time.Second
	words := &tail{}
	cmd.Stderr = words
	err := cmd.Start()
	if err == nil {
		if h == patient {
			yield(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, words.text)
	}
	return nil
}

// tail keeps the end of what a process says.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	t.text = append(t.text, p...)
	if n := len(t.text); n > most {
		t.text = slices.Clone(t.text[n-most:])
	}
	return len(p), nil
}
