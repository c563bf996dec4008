package e2e

import (
	"syscall"
	"testing"
	"time"

	"klive/infra/media"
)

// whipLine is README.md's for ffmpeg.
func whipLine(p *process) string {
	return "-c:v libx264 -profile:v baseline -bf 0 -g 60 -preset ultrafast -pix_fmt yuv420p -c:a libopus -ar 48000 -ac 2 " +
		"-f whip -authorization demo1234 http://" + p.http + "/whip/0_demolive_1?p=102&i=0"
}

// TestEncodersWHIP has ffmpeg publish over WebRTC, for longer than a connection lives that nobody keeps alive: every
// picture from the first to the last is stored.
func TestEncodersWHIP(t *testing.T) {
	const seconds = 60
	r := debian(t, "sid")
	r.version(t, "ffmpeg", "-version")
	p := startOpus(t, "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=2s")
	f := audited(t, p, "0_demolive", r.ffmpeg(t, testPicture, testTone, "-t 60", whipLine(p)))
	holdNamed(t, p, "0_demolive", `avc1\.42[0-9a-f]{4},opus`, "640x360")
	if n := len(f.Kind(media.Video).Units()); n < seconds*fps-2 || n > seconds*fps {
		t.Errorf("%d pictures are stored, %d were sent\n%s", n, seconds*fps, p.log)
	}
}

// TestEncodersWHIPEnds plays in Chromium what ffmpeg publishes over WebRTC, and ends ffmpeg: the feed ends at once.
func TestEncodersWHIPEnds(t *testing.T) {
	r := debian(t, "sid")
	p := startOpus(t)
	encoder := r.ffmpeg(t, testPicture, testTone, whipLine(p))
	waitListed(t, p)
	holdPlayed(t, p)
	begin := time.Now()
	if err := encoder.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.wait(t, 2*time.Second, "the feed's end", func() bool { return len(p.log.with("the encoder has stopped", "feed=0_demolive")) > 0 })
	t.Logf("the feed ended %v after the interrupt", time.Since(begin).Round(time.Millisecond))
	if err := encoder.finished(t, 10*time.Second); err == nil {
		t.Error("ffmpeg says that it was not interrupted")
	}
}
