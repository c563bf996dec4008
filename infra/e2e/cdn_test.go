package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"klive/infra/check"
	"klive/storage/storagetest"
)

// chain is a whole delivery: a bucket, klive, nginx before klive's origin, and nginx before the
// bare bucket.
type chain struct {
	*process
	gateway     *storagetest.Gateway
	cdn, bucket string // host:port
}

const mediaBucket = "media"

func startChain(t *testing.T, env ...string) *chain {
	t.Helper()
	c := &chain{gateway: storagetest.StartGateway(t, mediaBucket)}
	c.publicRead(t)
	c.process = start(t, append([]string{
		"KLIVE_STORAGE_URL=" + c.gateway.URL(mediaBucket), "AWS_ACCESS_KEY_ID=" + storagetest.GatewayKey,
		"AWS_SECRET_ACCESS_KEY=" + storagetest.GatewaySecret, "KLIVE_BROADCAST_RESUME=3s",
	}, env...)...)
	c.cdn = startNginx(t, "origin.conf", map[string]string{"ORIGIN": c.http, "SHIELD": "shield-secret-of-the-cdn"})
	c.bucket = startNginx(t, "bucket.conf", map[string]string{
		"BUCKET_HOST": strings.TrimPrefix(c.gateway.Endpoint, "http://"), "BUCKET_PATH": "/" + mediaBucket,
	})
	return c
}

// publicRead lets everybody read what is public.
func (c *chain) publicRead(t *testing.T) {
	t.Helper()
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &c.gateway.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, storagetest.GatewaySecret, ""),
	})
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + mediaBucket + `/kLive/*"}]}`
	if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(mediaBucket), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// played is what browser/play.mjs prints.
type played struct {
	Engine string
	Steps  []struct {
		Name          string
		Played        bool
		Wanted        *float64
		From, At      float64
		Range         [2]float64
		Width, Height int
		Frames        int
		Info          map[string]any
	}
	Errors []string
}

// play plays an address in Chromium with the steps of browser/play.mjs.
func play(t *testing.T, engine, address string, steps ...string) played {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	for _, name := range []string{"playwright-core", "shaka-player", "hls.js"} {
		if _, err := os.Stat(filepath.Join("browser", "node_modules", name)); err != nil {
			t.Skipf("SKIP: no %s; make setup-test", name)
		}
	}
	shot := filepath.Join(shots(t), strings.ReplaceAll(t.Name(), "/", "-"))
	cmd := exec.CommandContext(t.Context(), node, append([]string{"play.mjs", engine, address, shot}, steps...)...)
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var p played
	if json.Unmarshal(out, &p) != nil || len(p.Steps) != len(steps) {
		t.Fatalf("the browser: %v\n%s\n%s", err, out, complaints.String())
	}
	for _, s := range p.Steps {
		wanted := ""
		if s.Wanted != nil {
			wanted = fmt.Sprintf(" (wanted %.1f)", *s.Wanted)
		}
		t.Logf("%s %s: %.1f to %.1f%s of %.1f to %.1f, %d frames, %d×%d, %v", engine, s.Name, s.From, s.At, wanted, s.Range[0], s.Range[1], s.Frames, s.Width, s.Height, s.Info)
		if !s.Played || s.Width != 640 || s.Height != 360 {
			t.Errorf("%s did not play from %s", engine, s.Name)
		}
		if s.Wanted != nil && (s.From < *s.Wanted-6 || s.From > *s.Wanted+6) {
			t.Errorf("%s was told to go to %.1f and went to %.1f", engine, *s.Wanted, s.From)
		}
	}
	if err != nil || len(p.Errors) > 0 {
		t.Errorf("%s: %v, errors %q", engine, err, p.Errors)
	}
	return p
}

const allPath = "/kLive/smil:0_demolive_all.smil/"

// TestCDN plays live and the DVR window through nginx, from the origin and from the bare bucket.
func TestCDN(t *testing.T) {
	t.Parallel()
	c := startChain(t, shortSegments...)
	clip := x264Clip(t)
	first := publish(t, c.demo(), clip, 9*time.Second)
	window := length(26*time.Second, 18*time.Second)
	var follow check.DASH
	begun := time.Now()
	waitPlayable(t, c.process)
	for again := false; time.Since(begun) < window; time.Sleep(500 * time.Millisecond) { // until there is a window to seek in
		c.compare(t, &follow)
		if !again && time.Since(begun) > 9*time.Second { // a reconnect: two periods
			first.wait()
			publish(t, c.demo(), clip, 0)
			again = true
		}
	}
	at := func(host, leaf string) string { return "http://" + host + allPath + leaf }
	// The reconnect lies in what "through" plays.
	dvr, dash, bare := []string{"start", "middle", "end"}, []string{"live", "through", "end"}, []string{"start"}
	if proving() {
		dvr = []string{"live", "start", "through", "middle", "end"}
		dash, bare = dvr, []string{"start", "through", "middle"}
	}
	t.Run("hls.js DVR", func(t *testing.T) { play(t, "hls.js", at(c.cdn, "playlist.m3u8?DVR"), dvr...) })
	t.Run("Shaka DASH DVR", func(t *testing.T) { play(t, "shaka", at(c.cdn, "manifest.mpd?DVR"), dash...) })
	t.Run("hls.js bare bucket DVR", func(t *testing.T) { play(t, "hls.js", at(c.bucket, "playlist.m3u8?DVR"), bare...) })
	if proving() {
		t.Run("hls.js", func(t *testing.T) { play(t, "hls.js", at(c.cdn, "playlist.m3u8"), "live") })
		t.Run("Shaka DASH", func(t *testing.T) { play(t, "shaka", at(c.cdn, "manifest.mpd"), "live") })
		t.Run("Shaka HLS DVR", func(t *testing.T) { play(t, "shaka", at(c.cdn, "playlist.m3u8?DVR"), dvr...) })
		t.Run("native", func(t *testing.T) { play(t, "native", at(c.cdn, "playlist.m3u8"), "live") })
		t.Run("hls.js bare bucket", func(t *testing.T) { play(t, "hls.js", at(c.bucket, "playlist.m3u8"), "live") })
	}
	c.compare(t, &follow)
	t.Logf("%d manifests, %d segments held against HLS", follow.Manifests, follow.Compared)
	if err := follow.Err(); err != nil || follow.Compared < 20 || follow.Periods != 2 {
		t.Errorf("%d compared, %d periods: %v", follow.Compared, follow.Periods, err)
	}
	t.Run("ffprobe DASH", func(t *testing.T) { c.probeDASH(t) })
}

// compare holds the origin's manifest against its HLS playlists, with their DVR windows.
func (c *chain) compare(t *testing.T, d *check.DASH) {
	t.Helper()
	c.compareEntry(t, d, "0_demolive")
}

func (p *process) compareEntry(t *testing.T, d *check.DASH, entry string) {
	t.Helper()
	text := p.get(t.Context(), "http://"+p.http+"/kLive/smil:"+entry+"_all.smil/manifest.mpd?DVR")
	for _, rendition := range []string{entry + "_32", entry + "_a1"} {
		at := "/kLive/" + rendition + "/dvr.m3u8"
		if hls := p.get(t.Context(), "http://"+p.http+at); hls != "" {
			if err := d.HLS(at, hls); err != nil {
				t.Error(err)
			}
		}
	}
	if text != "" {
		d.Add("/kLive/smil:"+entry+"_all.smil/manifest.mpd", text)
	}
}

// probeDASH has ffprobe read the live manifest's media.
func (c *chain) probeDASH(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), ffprobe(t), "-v", "error", "-read_intervals", "%+4", "-show_entries",
		"stream=codec_name", "-of", "csv=p=0", "http://"+c.cdn+allPath+"manifest.mpd")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "h264") || !strings.Contains(string(out), "aac") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
}

// status asks for the head of an address.
func (p *process) status(t testing.TB, url string) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}
