package e2e

import (
	"fmt"
	"strings"
	"testing"

	"klive/infra/media"
)

// Where README.md has a file, encoders in tests have a picture and a tone that they make.
const (
	testPicture = "-re -f lavfi -i testsrc2=size=640x360:rate=30"
	testTone    = "-re -f lavfi -i sine=frequency=440:sample_rate=48000"
)

// enhancedLines are what ffmpeg of newer Debians publishes by Enhanced RTMP. x265's groups are open unless it is told
// otherwise: their keyframes have pictures behind them that are shown before, and need the group before.
var enhancedLines = []struct {
	suite, name, options string
	codecs               string // in the playlist
	open                 bool
}{
	{"trixie", "HEVC and AAC", "-c:v libx265 -preset ultrafast -b:v 1M -g 60 -c:a aac", `hvc1\.1\.6\.L63\.90,mp4a\.40\.2`, true},
	{"trixie", "HEVC in closed groups", "-c:v libx265 -preset ultrafast -b:v 1M -g 60 -x265-params open-gop=0:bframes=4 -c:a aac", `hvc1\.1\.6\.L63\.90,mp4a\.40\.2`, false},
	{"trixie", "AV1 and AAC", "-c:v libsvtav1 -preset 12 -b:v 1M -g 60 -c:a aac", `av01\.0\.0\dM\.08,mp4a\.40\.2`, false},
	{"trixie", "VP9 and AAC", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 60 -c:a aac", `vp09\.00\.\d\d\.08,mp4a\.40\.2`, false},
	{"sid", "HEVC and AAC", "-c:v libx265 -preset ultrafast -b:v 1M -g 60 -c:a aac", `hvc1\.1\.6\.L63\.90,mp4a\.40\.2`, true},
	{"sid", "AV1 and Opus", "-c:v libsvtav1 -preset 12 -b:v 1M -g 60 -c:a libopus", `av01\.0\.0\dM\.08,opus`, false},
}

// TestEncodersEnhancedRTMP has real encoders publish in Enhanced RTMP's codecs: every picture that was sent is stored, but
// for those of open groups that nothing can decode where a segment begins with their keyframe.
func TestEncodersEnhancedRTMP(t *testing.T) {
	const seconds = 16
	for _, c := range enhancedLines {
		t.Run(c.suite+" "+c.name, func(t *testing.T) {
			r := debian(t, c.suite)
			r.version(t, "ffmpeg", "-version")
			p := startOpus(t, "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=2s")
			encoder := r.ffmpeg(t, testPicture, testTone, "-t", fmt.Sprint(seconds), c.options, "-f flv", p.demo())
			f := audited(t, p, "0_demolive", encoder)
			holdNamed(t, p, "0_demolive", c.codecs, "640x360")
			video := f.Kind(media.Video)
			stored, leading := len(video.Units()), int(p.metric(t, `klive_gateway_dropped_frames_total{cause="leading"}`))
			t.Logf("%d leading pictures were left out at %d cuts", leading, len(video.Items))
			if stored+leading != 30*seconds || c.open != (leading > 0) || leading > 4*len(video.Items) {
				t.Errorf("%d pictures are stored and %d were left out, %d were sent\n%s", stored, leading, 30*seconds, p.log)
			}
		})
	}
}

// TestEncodersInPlayers plays what ffmpeg publishes by Enhanced RTMP: AV1 with Opus in Chromium, and HEVC, which Chromium
// does not know, in ffprobe, which decodes AV1 as well.
func TestEncodersInPlayers(t *testing.T) {
	for _, c := range []struct{ video, audio, options string }{
		{"av1", "opus", "-c:v libsvtav1 -preset 12 -b:v 1M -g 60 -c:a libopus"},
		{"hevc", "aac", "-c:v libx265 -preset ultrafast -b:v 1M -g 60 -c:a aac"},
	} {
		t.Run(c.video, func(t *testing.T) {
			r := debian(t, "sid")
			p := startOpus(t)
			r.ffmpeg(t, testPicture, testTone, c.options, "-f flv", p.demo())
			waitListed(t, p)
			probe(t, p, c.video, c.audio)
			if c.video == "av1" {
				holdPlayed(t, p)
			}
		})
	}
}

// TestEncodersMultitrack has ffmpeg publish several tracks in one connection: of sound, and of pictures, which are bitrates
// of the entry.
func TestEncodersMultitrack(t *testing.T) {
	r := debian(t, "sid")
	p := start(t, "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=2s")
	encoder := r.ffmpeg(t, testPicture, "-re -f lavfi -i testsrc2=size=320x180:rate=30", testTone, strings.Replace(testTone, "440", "880", 1),
		"-map 0:v -map 1:v -map 2:a -map 3:a -t 16 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -c:a aac -f flv", p.demo())
	f := audited(t, p, "0_demolive", encoder)
	holdLayers(t, f, "0_demolive", 640, 320)
	for _, name := range []string{"32", "36", "a1", "a2"} {
		r := f.Renditions["/kLive/0_demolive_"+name+"/v.m3u8"]
		if n := len(r.Units()); n < 16*fps {
			t.Errorf("%s has %d frames", name, n)
		}
	}
}
