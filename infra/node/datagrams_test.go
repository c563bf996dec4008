package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"klive/infra/config"
)

func TestCheckDatagrams(t *testing.T) {
	limit := func(text string) string {
		path := filepath.Join(t.TempDir(), "rmem_max")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	off := func(c *config.Config) { c.SRT.Listen, c.WHIP.Enabled = "", false }
	for name, test := range map[string]struct {
		limit         string
		change        func(*config.Config)
		found, advice string
	}{
		"enough":                {limit: limit("4194304\n"), found: "receive buffers of 4MiB are granted"},
		"what Debian grants":    {limit: limit("212992\n"), advice: "srt.buffer is 4MiB, so bursts of many streams get lost: sysctl -w net.core.rmem_max=4194304"},
		"WebRTC's is larger":    {limit: limit("4194304\n"), change: func(c *config.Config) { c.WebRTC.Buffer = 8 * config.MiB }, advice: "webrtc.buffer is 8MiB"},
		"neither is on":         {limit: limit("212992\n"), change: off},
		"no such file":          {limit: filepath.Join(t.TempDir(), "none")},
		"not a number in there": {limit: limit("max")},
	} {
		c := config.Default()
		if test.change != nil {
			test.change(c)
		}
		found, advice := checkDatagrams(c, test.limit)
		if found != test.found || !strings.Contains(advice, test.advice) || (advice == "") != (test.advice == "") {
			t.Errorf("%s: %q, %q; want %q, %q", name, found, advice, test.found, test.advice)
		}
	}
}
