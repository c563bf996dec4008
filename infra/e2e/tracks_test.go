package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
)

// captionText is what the captions of [languagesFile] say, over and over.
const captionText = "KLIVE CAPTION"

// languagesFile is a transport stream by ffmpeg as broadcasters send it: pictures with CEA-608
// captions in channel CC1, English sound of 440 Hz and Hebrew of 880 Hz.
func languagesFile(t testing.TB, seconds int) string {
	t.Helper()
	dir := t.TempDir()
	plain, captioned, file := filepath.Join(dir, "plain.h264"), filepath.Join(dir, "captioned.h264"), filepath.Join(dir, "languages.ts")
	ff := func(args ...string) {
		t.Helper()
		args = append([]string{"-loglevel", "error", "-nostdin"}, args...)
		if out, err := exec.CommandContext(t.Context(), ffmpeg(t), args...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
		}
	}
	ff("-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=640x360:rate=30:duration=%d", seconds), "-c:v", "libx264", "-preset", "ultrafast",
		"-pix_fmt", "yuv420p", "-g", "30", "-bf", "0", "-b:v", "500k", "-x264-params", "slices=1:sliced-threads=0", "-f", "h264", plain)
	b, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(captioned, withCaptions(b), 0o644); err != nil {
		t.Fatal(err)
	}
	sine := func(hz int) string {
		return fmt.Sprintf("sine=frequency=%d:sample_rate=48000:duration=%d", hz, seconds)
	}
	ff("-framerate", "30", "-f", "h264", "-i", captioned, "-f", "lavfi", "-i", sine(440), "-f", "lavfi", "-i", sine(880),
		"-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "64k", "-ac", "2",
		"-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=heb", "-f", "mpegts", file)
	return file
}

// withCaptions puts an SEI message with caption data (ATSC A/53 part 4) before each picture of an
// H.264 stream of one slice a picture: pop-on captions in CC1, a pair of bytes a frame.
func withCaptions(stream []byte) []byte {
	pairs := [][2]byte{{0x14, 0x20}, {0x14, 0x20}, {0x14, 0x2e}, {0x14, 0x2e}, {0x14, 0x70}, {0x14, 0x70}}
	for i := 0; i < len(captionText); i += 2 {
		pair := [2]byte{captionText[i], 0}
		if i+1 < len(captionText) {
			pair[1] = captionText[i+1]
		}
		pairs = append(pairs, pair)
	}
	pairs = append(pairs, [2]byte{0x14, 0x2f}, [2]byte{0x14, 0x2f})
	odd := func(b byte) byte {
		if bits.OnesCount8(b)%2 == 0 {
			return b | 0x80
		}
		return b
	}
	start := []byte{0, 0, 1}
	var out []byte
	picture := 0
	for _, unit := range bytes.Split(stream, start)[1:] {
		if typ := unit[0] & 0x1f; typ == 1 || typ == 5 {
			p := [2]byte{}
			switch n := picture % 30; {
			case n < len(pairs):
				p = pairs[n]
			case n == 28, n == 29: // erase what is shown: a cue ends
				p = [2]byte{0x14, 0x2c}
			}
			picture++
			sei := []byte{6, 4, 17, 0xb5, 0, 0x31, 'G', 'A', '9', '4', 3, 0xc2, 0xff, 0xfc, odd(p[0]), odd(p[1]), 0xfd, 0x80, 0x80, 0xff, 0x80}
			out = append(append(append(out, 0), start...), sei...)
		}
		out = append(append(append(out, 0), start...), bytes.TrimRight(unit, "\x00")...)
	}
	return out
}

// heardTracks is what browser/tracks.mjs prints.
type heardTracks struct {
	Tracks        []struct{ Language, Name string }
	Before, After float64
	Cues          []string
	Captions      []string
	Stalled       float64 // seconds
	Advanced      float64
	Errors        []string
}

// listen plays an address in Chromium, and changes over to another language.
func listen(t *testing.T, engine, address, language string) heardTracks {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	for _, name := range []string{"playwright-core", "shaka-player", "hls.js"} {
		if _, err := os.Stat(filepath.Join("browser", "node_modules", name)); err != nil {
			t.Skipf("SKIP: no %s; make setup-test", name)
		}
	}
	shot := filepath.Join(shots(t), strings.ReplaceAll(t.Name(), "/", "-")+".png")
	cmd := exec.CommandContext(t.Context(), node, "tracks.mjs", engine, address, language, shot)
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var l heardTracks
	if json.Unmarshal(out, &l) != nil || err != nil {
		t.Fatalf("the browser: %v\n%s\n%s", err, out, complaints.String())
	}
	t.Logf("%s: %+v", engine, l)
	return l
}

// TestLanguages publishes two languages and captions over SRT: players offer both and change over,
// ffprobe knows them, and playlists and manifests keep the rules.
func TestLanguages(t *testing.T) {
	t.Parallel()
	p := start(t, "KLIVE_SEGMENT_DURATION=1s")
	encoder := run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", languagesFile(t, 40), "-map", "0", "-c", "copy",
		"-f", "mpegts", "srt://"+p.srt+"?streamid="+url.QueryEscape("#!::r=0_demolive_1,m=publish,u=102,i=0,s=demo1234"))
	t.Cleanup(encoder.kill)
	waitPlayable(t, p)
	multivariant := p.playlist("0_demolive")
	p.wait(t, 20*time.Second, "captions in the playlist", func() bool { return strings.Contains(p.get(t.Context(), multivariant), "CLOSED-CAPTIONS=") })
	t.Run("rules", func(t *testing.T) { p.keepLanguageRules(t) })
	t.Run("ffprobe", func(t *testing.T) { p.probeLanguages(t) })
	for _, engine := range []string{"hls.js", "shaka"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			address := multivariant
			if engine == "shaka" {
				address = "http://" + p.http + allPath + "manifest.mpd"
			}
			l := listen(t, engine, address, "he")
			near := func(a, b float64) bool { return a > b-15 && a < b+15 }
			if len(l.Tracks) != 2 || l.Tracks[0].Language != "en" || l.Tracks[1].Language != "he" || !near(l.Before, 440) || !near(l.After, 880) {
				t.Errorf("tracks %+v, %.0f Hz and then %.0f Hz", l.Tracks, l.Before, l.After)
			}
			if len(l.Captions) != 1 || engine == "hls.js" && (len(l.Cues) == 0 || !slices.ContainsFunc(l.Cues, func(s string) bool { return strings.Contains(s, captionText) })) {
				t.Errorf("captions %q say %q", l.Captions, l.Cues)
			}
			// Players empty their buffer of sound when the language changes.
			if proving() && l.Stalled > 1 {
				t.Errorf("it stood still for %.1f s", l.Stalled)
			}
		})
	}
}

// keepLanguageRules holds the entry's playlists and manifest against the rules of HLS, of an
// independent strict parser, and of DASH.
func (p *process) keepLanguageRules(t *testing.T) {
	t.Helper()
	rules := check.NewPlaylist(check.PlaylistConfig{})
	var list []map[string]string
	for _, path := range []string{"/kLive/0_demolive_32/v.m3u8", "/kLive/0_demolive_a1/v.m3u8", "/kLive/0_demolive_a2/v.m3u8", allPath + "playlist.m3u8", "/kLive/0_demolive_a2/playlist.m3u8"} {
		text := p.get(t.Context(), "http://"+p.http+path)
		rules.Add(path, text)
		list = append(list, map[string]string{"path": path, "text": text})
	}
	if err := rules.Err(); err != nil {
		t.Errorf("%v", err)
	}
	strict(t, list)
	multivariant, manifest := list[3]["text"], p.get(t.Context(), "http://"+p.http+allPath+"manifest.mpd")
	for _, want := range []string{
		`GROUP-ID="a1",NAME="English",LANGUAGE="en",DEFAULT=YES`, `GROUP-ID="a1",NAME="Hebrew",LANGUAGE="he",DEFAULT=NO`,
		`TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC1",DEFAULT=NO,AUTOSELECT=YES,INSTREAM-ID="CC1"`, `CLOSED-CAPTIONS="cc"`,
	} {
		if !strings.Contains(multivariant, want) {
			t.Errorf("no %s in\n%s", want, multivariant)
		}
	}
	for _, want := range []string{`lang="en"`, `lang="he"`, `urn:scte:dash:cc:cea-608:2015" value="CC1=und"`} {
		if !strings.Contains(manifest, want) {
			t.Errorf("no %s in\n%s", want, manifest)
		}
	}
	var dash check.DASH
	dash.Add(allPath+"manifest.mpd", manifest)
	if err := dash.Err(); err != nil {
		t.Error(err)
	}
}

// probeLanguages has ffprobe name the languages of the playlist and of the media.
func (p *process) probeLanguages(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), ffprobe(t), "-v", "error", "-show_entries", "stream=codec_type:stream_tags=language", "-of", "csv=p=0", p.playlist("0_demolive")).Output()
	if err != nil || !strings.Contains(string(out), "audio,en") || !strings.Contains(string(out), "audio,he") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
	folder := "http://" + p.http + "/kLive/0_demolive_a2/"
	_, init, _ := strings.Cut(p.get(t.Context(), folder+"v.m3u8"), `#EXT-X-MAP:URI="`)
	init, _, _ = strings.Cut(init, `"`)
	file := filepath.Join(t.TempDir(), "init.mp4")
	if err := os.WriteFile(file, []byte(p.get(t.Context(), folder+init)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = exec.CommandContext(t.Context(), ffprobe(t), "-v", "error", "-show_entries", "stream=codec_type:stream_tags=language", "-of", "csv=p=0", file).Output()
	if err != nil || strings.TrimSpace(string(out)) != "audio,heb" {
		t.Errorf("ffprobe of the second track's initialization section: %v\n%s", err, out)
	}
}
