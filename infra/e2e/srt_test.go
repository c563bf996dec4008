package e2e

import (
	"net/url"
	"testing"
	"time"

	"klive/infra/publisher"
)

// callSRT has ffmpeg play a file over SRT in real time.
func callSRT(t testing.TB, p *process, file, streamID, more string) *tooling {
	t.Helper()
	return run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts",
		"srt://"+p.srt+"?streamid="+url.QueryEscape(streamID)+more)
}

// TestSRTFrameAudit publishes over SRT in each form of stream id: every frame that the
// encoder sends is in the segments once.
func TestSRTFrameAudit(t *testing.T) {
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s")
	long := length(60*time.Second, 6*time.Second)
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), long)
	for name, id := range map[string]string{
		"access control": "#!::r=0_demolive_1,m=publish,u=102,i=0,s=demo1234",
		"Kaltura's":      "#:::e=0_demolive,st=0,p=demo1234",
		"plain":          "0_demolive_1?p=102&e=0_demolive&i=0&t=demo1234",
	} {
		done := make(chan struct{})
		encoder := callSRT(t, p, file, id, "")
		go func() { <-encoder.done; close(done) }()
		follower := follow(t, p, "0_demolive", done)
		if encoder.err != nil {
			t.Fatalf("%s: ffmpeg: %v %s", name, encoder.err, encoder.says.Bytes())
		}
		auditWhole(t, name, follower.Audit(sent), 15)
	}
}
