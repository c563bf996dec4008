package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// published is what browser/publish-camera.mjs and publish-flash.mjs print.
type published struct {
	Said  map[string]string // what the page says while it publishes
	Steps []struct {
		Name    string
		At      float64 // seconds that were played
		Decoded int
		Width   int
		Fatal   []string
	}
	Flashes []struct{ Due, Drawn float64 }
	Player  watched
	Errors  []string
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
	f := follow(t, p, entry, done)
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

// browserEnv makes broadcasts of browsers short.
func browserEnv(more ...string) []string {
	return append([]string{
		"KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_WHIP_KEYFRAME=1s",
	}, more...)
}

// TestPublishFromTheConsole has Chromium publish its fake camera through the console's page, change the picture's size, mute
// picture and sound and freeze the page, while hls.js plays it in a second page: it plays to the end, and each version of each
// playlist keeps the rules.
func TestPublishFromTheConsole(t *testing.T) {
	t.Parallel()
	p := start(t, browserEnv()...)
	saw, f := publishInChromium(t, p, "0_demolive", "publish-camera.mjs", "http://"+p.admin+"/", p.playlist("0_demolive"), shots(t),
		fmt.Sprint(length(10*time.Second, 1500*time.Millisecond).Milliseconds()))
	if saw.Said["State"] != "Published" || !strings.Contains(saw.Said["Codecs"], "H264") || !strings.Contains(saw.Said["Codecs"], "opus") {
		t.Errorf("the page says %v; want H264 and Opus", saw.Said)
	}
	before := -1.0
	for _, s := range saw.Steps {
		t.Logf("%+v", s)
		if s.At <= before {
			t.Errorf("%s: the player stands at %.2f s", s.Name, s.At)
		}
		before = s.At
	}
	sizes := map[int]bool{}
	for _, r := range f.Renditions {
		for _, i := range r.Items {
			if v, ok := i.Params.(*media.H264); ok {
				w, _ := v.Size()
				sizes[w] = true
			}
		}
	}
	if len(sizes) < 2 {
		t.Errorf("pictures of widths %v are stored; want more than one", sizes)
	}
	if saw.Player.Decoded < 60 {
		t.Errorf("%d pictures were decoded", saw.Player.Decoded)
	}
	if lines := p.log.with("WARN", "WHIP request refused"); len(lines) > 0 {
		t.Errorf("klive refused %q", lines)
	}
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

// TestPublishedFlashAndBeep publishes flashes and beeps from Chromium, in H264 and Opus, which hls.js plays as they
// are: they stay together.
func TestPublishedFlashAndBeep(t *testing.T) {
	t.Parallel()
	api := start(t, "KLIVE_RTMP_LISTEN=", "KLIVE_SRT_LISTEN=")
	p := start(t, browserEnv("KLIVE_KALTURA_URL="+opusThrough(t, api.admin), "KLIVE_KALTURA_PARTNER_ID=102", "KLIVE_KALTURA_SECRET="+controlSecret,
		"KLIVE_RECORDING_ENABLED=false")...)
	saw, f := publishInChromium(t, p, "0_demolive", "publish-flash.mjs", "http://"+p.admin+"/", "http://"+p.http+"/whip/0_demolive_1?p=102&i=0", "demo1234",
		p.playlist("0_demolive"), shots(t), fmt.Sprint(length(30*time.Second, 4*time.Second).Seconds()))
	if !strings.Contains(saw.Said["Codecs"], "H264") {
		t.Errorf("the page says %v; want H264", saw.Said)
	}
	if r := f.Kind(media.Audio); r == nil || r.Items[0].Params.Codec() != "Opus" {
		t.Errorf("the sound is not Opus: %+v", r)
	}
	var late []float64 // how late each flash was drawn
	for _, flash := range saw.Flashes {
		late = append(late, flash.Drawn-flash.Due)
	}
	address := strings.Replace(p.playlist("0_demolive"), "playlist.m3u8", "playlist-dvr.m3u8", 1)
	flashes := onsets(t, address, "0:v:0", "scale=32:18,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", 120)
	beeps := onsets(t, address, "0:a:0", "asetnsamples=n=240,astats=metadata=1:reset=1,ametadata=print:key=lavfi.astats.Overall.RMS_level:file=-", -30)
	var offsets []float64
	for _, beep := range beeps {
		for _, flash := range flashes {
			if math.Abs(flash-beep) < 0.4 {
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

// onsets has ffmpeg measure one stream of a playlist and returns the times in seconds at which the measure rises above a
// level, for the first time in a third of a second.
func onsets(t *testing.T, address, stream, filter string, level float64) []float64 {
	t.Helper()
	kind := "-vf"
	if strings.Contains(stream, ":a:") {
		kind = "-af"
	}
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), ffmpeg(t), "-v", "error", "-copyts", "-live_start_index", "0", "-i", address, "-map", stream, kind, filter, "-f", "null", "-")
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v %s", stream, err, complaints.String())
	}
	var times []float64
	at, above := 0.0, math.Inf(-1)
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
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
