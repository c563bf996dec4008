package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// published is what browser/publish-camera.mjs, publish-flash.mjs and publish-layers.mjs print.
type published struct {
	Said  map[string]string // what the page says while it publishes
	Steps []struct {
		Name    string
		At      float64 // where the player stands, in seconds
		Decoded int
	}
	Flashes []struct{ Due, Drawn float64 }
	Player  watched
	Errors  []string
	// Answer is klive's answer, Layers are what the browser sent of each of three sizes.
	Answer string
	Layers []struct {
		RID                              string
		Width, Height, Frames, Keyframes int
		NACKs, Repeats                   int
		Repeating                        bool // it has a stream of its own for repeats
	}
}

// publishInChromium runs a publishing script while a follower reads all that comes of it, to its end.
func publishInChromium(t *testing.T, p *process, entry, script string, args ...string) (published, *check.Follower) {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{script}, args...)...)
	cmd.Dir = "browser"
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var ended error
	go func() {
		defer close(done)
		ended = cmd.Wait()
	}()
	f := followHLS(t, p, entry, done)
	<-done
	var saw published
	if ended == nil {
		ended = json.Unmarshal(out.Bytes(), &saw)
	}
	if ended != nil {
		t.Fatalf("the browser: %v\n%s\n%s\n%s", ended, out.Bytes(), complaints.Bytes(), p.log)
	}
	t.Logf("the page says %v; the player %+v", saw.Said, saw.Player)
	if len(saw.Errors) > 0 || len(saw.Player.Fatal) > 0 {
		t.Errorf("errors %q, the player's %q\n%s", saw.Errors, saw.Player.Fatal, p.log)
	}
	return saw, f
}

// followHLS reads a broadcast until its end after done, and holds each version of each HLS playlist against the rules.
func followHLS(t *testing.T, p *process, entry string, done <-chan struct{}) *check.Follower {
	t.Helper()
	f, err := check.Follow(p.client, p.playlist(entry))
	if err != nil {
		t.Fatal(err)
	}
	var end time.Time
	for ; ; time.Sleep(100 * time.Millisecond) {
		if err := f.Poll(t.Context()); err != nil && !errors.Is(err, check.ErrNoPlaylist) {
			t.Fatalf("%v\n%s", err, p.log)
		}
		select {
		case <-done:
			if end.IsZero() {
				end = time.Now().Add(30 * time.Second)
			}
		default:
			continue
		}
		if main := f.Main(); main != nil && main.Ended {
			break
		}
		if time.Now().After(end) {
			t.Errorf("the playlist did not end\n%s", p.log)
			break
		}
	}
	if err := f.Rules.Err(); err != nil {
		t.Error(err)
	}
	return f
}

// TestBrowserPublishes runs one browser after the other: each encodes and decodes without help of a GPU.
func TestBrowserPublishes(t *testing.T) {
	t.Parallel()
	t.Run("camera", publishFromTheConsole)
	t.Run("flash and beep", publishFlashAndBeep)
}

// publishFromTheConsole has Chromium publish its fake camera through the console's page, change the picture's size, mute
// picture and sound and freeze the page, while hls.js plays it in a second page: in H264, and in the AAC that the entry's profile
// has of Opus. Each version of each playlist keeps the rules.
func publishFromTheConsole(t *testing.T) {
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=2s")
	saw, f := publishInChromium(t, p, "0_demolive", "publish-camera.mjs", "http://"+p.admin+"/", p.playlist("0_demolive"), shots(t),
		fmt.Sprint(length(10*time.Second, time.Second).Milliseconds()))
	if saw.Said["State"] != "Published" || !strings.Contains(saw.Said["Codecs"], "H264") || !strings.Contains(saw.Said["Codecs"], "opus") {
		t.Errorf("the page says %v; want H264 and Opus", saw.Said)
	}
	for _, s := range saw.Steps {
		t.Logf("%+v", s)
	}
	if first, last := saw.Steps[0], saw.Steps[len(saw.Steps)-1]; last.At < first.At+1 || last.Decoded < first.Decoded+20 {
		t.Errorf("the player went from %+v to %+v", first, last)
	}
	if picture, sound := codecOf(f, media.Video), codecOf(f, media.Audio); picture != "H264" || sound != "AAC" {
		t.Errorf("%q and %q are stored", picture, sound)
	}
	if lines := p.log.with("WARN", "WHIP request refused"); len(lines) > 0 {
		t.Errorf("klive refused %q", lines)
	}
}

// codecOf is the codec of the tracks of a kind; empty when nothing of it was stored.
func codecOf(f *check.Follower, kind media.Kind) string {
	r := f.Kind(kind)
	if r == nil {
		return ""
	}
	for _, i := range r.Items {
		if i.Params != nil {
			return i.Params.Codec()
		}
	}
	return ""
}

// opusThrough stands before a control plane and passes encoders' Opus through, which the profiles of Kaltura have
// encoded to AAC.
func opusThrough(t *testing.T, admin string) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: admin})
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.Body.Close()
			body = bytes.ReplaceAll(body, []byte(`<Codec>AAC</Codec>`), []byte(`<Codec>PassThru</Codec>`))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

// maxOffset is how far sound and picture of a browser may be apart.
const maxOffset = 60 * time.Millisecond

// publishFlashAndBeep publishes flashes and beeps from Chromium, in H264 and Opus, which hls.js plays as they
// are: they stay together.
func publishFlashAndBeep(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: a browser that draws, encodes and plays at once needs a quiet machine; make prove PROVE=TestBrowserPublishes")
	}
	api := start(t, "KLIVE_RTMP_LISTEN=", "KLIVE_SRT_LISTEN=")
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_WHIP_KEYFRAME=1s", "KLIVE_RECORDING_ENABLED=false",
		"KLIVE_KALTURA_URL="+opusThrough(t, api.admin), "KLIVE_KALTURA_PARTNER_ID=102", "KLIVE_KALTURA_SECRET="+controlSecret)
	saw, f := publishInChromium(t, p, "0_demolive", "publish-flash.mjs", "http://"+p.admin+"/", "http://"+p.http+"/whip/0_demolive_1?p=102&i=0", "demo1234",
		p.playlist("0_demolive"), shots(t), fmt.Sprint(length(30*time.Second, time.Second).Seconds()))
	if err := f.Manifests.Err(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(saw.Said["Codecs"], "H264") {
		t.Errorf("the page says %v; want H264", saw.Said)
	}
	if picture, sound := codecOf(f, media.Video), codecOf(f, media.Audio); picture != "H264" || sound != "Opus" {
		t.Fatalf("%q and %q are stored", picture, sound)
	}
	sizes := map[string]bool{}
	for _, i := range f.Kind(media.Video).Items {
		if v, ok := i.Params.(*media.H264); ok {
			w, h := v.Size()
			sizes[fmt.Sprintf("%d×%d", w, h)] = true
		}
	}
	if len(sizes) < 2 {
		t.Errorf("pictures of %v are stored; want those of the larger and of the smaller canvas", sizes)
	}
	var late []float64 // how late each flash was drawn
	for _, flash := range saw.Flashes {
		late = append(late, flash.Drawn-flash.Due)
	}
	address := strings.Replace(p.playlist("0_demolive"), "playlist.m3u8", "playlist-dvr.m3u8", 1)
	flashes, beeps := flashesAndBeeps(t, address)
	var offsets []float64
	for _, beep := range beeps {
		for _, flash := range flashes {
			if math.Abs(flash-beep) < 0.5 {
				offsets = append(offsets, flash-beep)
			}
		}
	}
	if len(offsets) < 4 {
		t.Fatalf("flashes at %.3f, beeps at %.3f s: too few\n%s", flashes, beeps, p.log)
	}
	drawn, offset := median(late), median(offsets)
	t.Logf("pictures lie %.1f ms behind the sound (median of %d, from %.1f to %.1f); they were drawn %.1f ms late", 1000*offset, len(offsets),
		1000*slices.Min(offsets), 1000*slices.Max(offsets), 1000*drawn)
	if apart := time.Duration((offset - drawn) * float64(time.Second)).Abs(); apart > maxOffset {
		t.Errorf("sound and picture are %v apart, want at most %v", apart, maxOffset)
	}
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// flashesAndBeeps has ffmpeg decode a playlist and returns when the picture turned white and when the sound began, in
// seconds of one clock.
func flashesAndBeeps(t *testing.T, address string) (flashes, beeps []float64) {
	t.Helper()
	picture, sound := filepath.Join(t.TempDir(), "picture"), filepath.Join(t.TempDir(), "sound")
	cmd := exec.CommandContext(t.Context(), ffmpeg(t), "-v", "error", "-live_start_index", "0", "-i", address,
		"-map", "0:v:0", "-vf", "scale=32:18,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file="+picture,
		"-map", "0:a:0", "-af", "asetnsamples=n=240,astats=metadata=1:reset=1,ametadata=print:key=lavfi.astats.Overall.RMS_level:file="+sound,
		"-fps_mode", "passthrough", "-f", "null", "-")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v %s", err, out)
	}
	return onsets(t, picture, 120), onsets(t, sound, -30)
}

// onsets reads measures as ffmpeg writes them, and returns the times in seconds at which they rise above a level, for the
// first time in a third of a second.
func onsets(t *testing.T, path string, level float64) []float64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var times []float64
	at, above := 0.0, math.Inf(-1)
	for s := bufio.NewScanner(file); s.Scan(); {
		if _, text, ok := strings.Cut(s.Text(), "pts_time:"); ok {
			at, _ = strconv.ParseFloat(strings.TrimSpace(text), 64)
			continue
		}
		_, text, _ := strings.Cut(s.Text(), "=")
		if value, err := strconv.ParseFloat(text, 64); err == nil && value > level {
			if at-above > 0.3 {
				times = append(times, at)
			}
			above = at
		}
	}
	return times
}
