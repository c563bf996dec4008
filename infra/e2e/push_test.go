package e2e

import (
	"strings"
	"testing"
	"time"

	"klive/infra/publisher"
)

// pushLines are the shortest command lines that a user would write, as README.md has them; -ignore_io_errors, which it names,
// would hide errors from the tests. "HTTP" stands for host and port.
var pushLines = map[string]string{
	"mpegts":   `-f mpegts -method POST http://HTTP/ingest/ENTRY_1?p=102&t=TOKEN`,
	"dash":     `-f dash -method PUT http://HTTP/ingest/ENTRY_1/t/TOKEN/live.mpd`,
	"hls":      `-f hls -method PUT http://HTTP/ingest/ENTRY_1/t/TOKEN/live.m3u8`,
	"hls fmp4": `-f hls -hls_segment_type fmp4 -method PUT http://HTTP/ingest/ENTRY_1/t/TOKEN/live.m3u8`,
}

// pushFile has ffmpeg play a file to an address of HTTP ingest in real time.
func pushFile(t testing.TB, http, file, line string, e entry) *tooling {
	t.Helper()
	args := []string{"-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy"}
	for _, a := range strings.Fields(line) {
		args = append(args, strings.NewReplacer("HTTP", http, "ENTRY", e.ID, "TOKEN", e.Token).Replace(a))
	}
	return run(t, ffmpeg(t), args...)
}

// TestPushFrameAudit publishes with ffmpeg over HTTP in each form of body: every frame that
// it sends is in the segments once, and Kaltura is asked once.
func TestPushFrameAudit(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_PUSH_IDLE_TIMEOUT=10s")
	long := length(60*time.Second, 7*time.Second)
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), long)
	file = movieFile(t, file)
	for name, line := range pushLines {
		e := p.addEntries(t, 1)[0]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoder := pushFile(t, p.http, file, line, e)
			done := make(chan struct{})
			go func() { <-encoder.done; close(done) }()
			follower := follow(t, p, e.ID, done)
			if encoder.err != nil {
				t.Errorf("ffmpeg: %v %s", encoder.err, encoder.says.Bytes())
			}
			auditWhole(t, name, follower.Audit(sent), 0)
			if t.Failed() {
				t.Logf("klive said:\n%s", p.log)
			}
		})
	}
}

// movieFile has ffmpeg put a transport stream into an MP4 file, as users' recordings are.
func movieFile(t testing.TB, file string) string {
	t.Helper()
	out := strings.TrimSuffix(file, ".ts") + ".mp4"
	if err := run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-i", file, "-map", "0", "-c", "copy", "-bsf:a", "aac_adtstoasc", out).finished(t, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	return out
}
