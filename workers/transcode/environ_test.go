package transcode

import (
	"strings"
	"testing"
	"time"
)

// TestFFmpegKnowsNoSecrets has a program in ffmpeg's place tell its environment.
func TestFFmpegKnowsNoSecrets(t *testing.T) {
	t.Setenv("KLIVE_BUS_PASSWORD", "geheim")
	p := &process{path: program(t, "cat >/dev/null; env"), stall: time.Minute}
	out, err := p.run(t.Context(), nil)
	if err != nil || strings.Contains(string(out), "geheim") || !strings.Contains(string(out), "PATH=") {
		t.Errorf("%v; its environment was\n%s", err, out)
	}
}
