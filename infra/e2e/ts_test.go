package e2e

import (
	"image"
	_ "image/jpeg"
	"os/exec"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
)

// TestTransportStream plays HLS in MPEG-TS, live and the DVR window.
func TestTransportStream(t *testing.T) {
	t.Parallel()
	p := start(t, append([]string{"KLIVE_HLS_CONTAINER=ts"}, shortSegments...)...)
	publish(t, p.demo(), x264Clip(t), 0)
	waitPlayable(t, p)
	rules := check.NewPlaylist(check.PlaylistConfig{})
	seen := map[string]string{}
	segments := map[string]bool{}
	for end := time.Now().Add(length(60*time.Second, 8*time.Second)); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		for _, path := range []string{allPath + "playlist.m3u8", "/kLive/0_demolive_32/ts.m3u8", "/kLive/0_demolive_32/ts-dvr.m3u8"} {
			text := p.get(t.Context(), "http://"+p.http+path)
			if text == "" || text == seen[path] {
				continue
			}
			seen[path] = text
			rules.Add(path, text)
			if strings.HasSuffix(path, "/ts.m3u8") {
				p.fetchTS(t, text, segments)
			}
		}
	}
	if err := rules.Err(); err != nil || len(segments) < 3 {
		t.Errorf("%d segments, %v", len(segments), err)
	}
	if m := seen[allPath+"playlist.m3u8"]; !strings.Contains(m, "../0_demolive_32/ts.m3u8") || strings.Contains(m, "EXT-X-MEDIA") || !strings.Contains(m, "mp4a") {
		t.Errorf("the multivariant playlist:\n%s", m)
	}
	cmd := exec.CommandContext(t.Context(), ffmpeg(t), "-v", "warning", "-nostdin", "-live_start_index", "0", "-i", p.playlist("0_demolive"), "-t", "8", "-f", "null", "-")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	t.Run("hls.js", func(t *testing.T) { play(t, "hls.js", p.playlist("0_demolive")+"?DVR", "live", "start") })
	if proving() {
		t.Run("native", func(t *testing.T) { play(t, "native", p.playlist("0_demolive"), "live") })
	}
}

// fetchTS asks for each segment once.
func (p *process) fetchTS(t *testing.T, text string, segments map[string]bool) {
	t.Helper()
	for line := range strings.Lines(text) {
		name := strings.TrimSpace(line)
		if strings.HasPrefix(name, "#") || segments[name] {
			continue
		}
		segments[name] = true
		code, header := p.status(t, "http://"+p.http+"/kLive/0_demolive_32/"+name)
		if code != 200 || header.Get("Content-Type") != "video/mp2t" || !strings.Contains(header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", name, code, header)
		}
	}
}

// TestPictures asks for an entry's thumbnail and poster.
func TestPictures(t *testing.T) {
	t.Parallel()
	p := start(t, append([]string{"KLIVE_THUMBNAIL_EVERY=2s", "KLIVE_THUMBNAIL_WIDTH=320"}, shortSegments...)...)
	ffmpeg(t)
	at := func(leaf string) string { return "http://" + p.http + allPath + leaf }
	if code, header := p.status(t, at("thumbnail.jpg")); code != 404 || header.Get("Cache-Control") != "max-age=1" {
		t.Errorf("before the broadcast: %d %v", code, header)
	}
	publish(t, p.demo(), x264Clip(t), 0)
	waitPlayable(t, p)
	poster := p.get(t.Context(), at("poster.jpg"))
	first := p.get(t.Context(), at("thumbnail.jpg"))
	for name, text := range map[string]string{"poster": poster, "thumbnail": first} {
		c, format, err := image.DecodeConfig(strings.NewReader(text))
		if err != nil || format != "jpeg" || c.Width != 320 || c.Height != 180 {
			t.Fatalf("%s: %d bytes, %s %+v: %v", name, len(text), format, c, err)
		}
	}
	p.wait(t, 30*time.Second, "another thumbnail", func() bool {
		now := p.get(t.Context(), at("thumbnail.jpg"))
		return now != "" && now != first
	})
	if p.get(t.Context(), at("poster.jpg")) != poster {
		t.Error("the poster has changed")
	}
	if code, header := p.status(t, at("thumbnail.jpg")); code != 200 || header.Get("Content-Type") != "image/jpeg" || header.Get("Cache-Control") != "public, max-age=1" {
		t.Errorf("%d %v", code, header)
	}
}
