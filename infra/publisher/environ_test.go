package publisher

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPatternKeepsSecrets: the ffmpeg that makes the pattern gets nothing of what klive's environment holds for klive.
func TestPatternKeepsSecrets(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "ffmpeg")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv >>\"$PATTERN_ENVIRONMENT\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(dir, "environment")
	t.Setenv("PATTERN_ENVIRONMENT", seen)
	t.Setenv("KLIVE_KALTURA_SECRET", "never-to-be-seen")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-seen")
	p := Pattern{URL: "rtmp://127.0.0.1:1/kLive/?p=102&e=0_rkij47dr&i=0&t=tok/0_rkij47dr_1", FFmpeg: program, Duration: time.Second}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if n := strings.Count(text, "PATTERN_ENVIRONMENT="); n != 2 { // the look at what it can, and the pattern
		t.Errorf("ffmpeg ran %d times:\n%s", n, text)
	}
	if strings.Contains(text, "never-to-be-seen") {
		t.Errorf("ffmpeg gets secrets:\n%s", text)
	}
}
