package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"klive/infra/check"
	kinds "klive/infra/media"
	"klive/infra/publisher"
	"klive/storage/origin"
)

const shieldSecret = "shield-secret-of-the-cdn"

// TestSignedURLs asks nginx, which asks the origin who may watch, for signed addresses.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	now, before := origin.Key{ID: "k2", Secret: "second-secret-of-viewers"}, origin.Key{ID: "k1", Secret: "first-secret-of-viewers"}
	file, rotate := keyFile(t)
	rotate(now, before)
	p := start(t, append([]string{"KLIVE_VIEWER_KEYS=file:" + file, "KLIVE_VIEWER_SHIELD_HEADER=X-Shield",
		"KLIVE_VIEWER_SHIELD_SECRETS=" + shieldSecret}, shortSegments...)...)
	cdn := startNginx(t, "origin.conf", map[string]string{"ORIGIN": p.http, "SHIELD": shieldSecret})
	publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: time.Second}), 0)
	later := time.Now().Add(time.Hour)
	token := func(k origin.Key, scope string, until time.Time) string { return origin.Sign(k, scope, until) }
	at := func(token, path string) string { return "http://" + cdn + origin.SignedPath(token, path) }
	good := token(now, "0_demolive", later)
	master := allPath + "playlist.m3u8"
	p.wait(t, 20*time.Second, "a signed playlist", func() bool {
		return strings.Contains(p.get(t.Context(), at(good, master)), "#EXT-X-STREAM-INF")
	})
	var media string
	p.wait(t, 20*time.Second, "a signed media playlist", func() bool {
		for line := range strings.Lines(p.get(t.Context(), at(good, "/kLive/0_demolive_32/v.m3u8"))) {
			if !strings.HasPrefix(line, "#") {
				media = "/kLive/0_demolive_32/" + strings.TrimSpace(line)
			}
		}
		return media != ""
	})
	for _, test := range []struct {
		name, url string
		code      int
		cache     string
	}{
		{"valid", at(good, media), 200, ""},
		{"another viewer's", at(token(now, "0_demolive", later.Add(time.Minute)), media), 200, "HIT"},
		{"of the key before", at(token(before, "0_demolive", later), media), 200, "HIT"},
		{"in the query", "http://" + cdn + media + "?token=" + good, 200, "HIT"},
		{"none, though it is in the cache", "http://" + cdn + media, 403, ""},
		{"expired", at(token(now, "0_demolive", time.Now().Add(-time.Second)), media), 403, ""},
		{"another entry's", at(token(now, "0_aaaaaaaa", later), media), 403, ""},
		{"on another path", at(good, "/kLive/0_aaaaaaaa_32/v.m3u8"), 403, ""},
		{"of a key taken out of use", at(token(origin.Key{ID: "k0", Secret: "secret-of-last-year"}, "0_demolive", later), media), 403, ""},
		{"past the CDN", "http://" + p.http + origin.SignedPath(good, media), 403, ""},
	} {
		code, header := p.status(t, test.url)
		if code != test.code || test.cache != "" && header.Get("X-Cache") != test.cache {
			t.Errorf("%s: %d, cache %q", test.name, code, header.Get("X-Cache"))
		}
		t.Logf("%s: %d %s", test.name, code, header.Get("X-Cache"))
	}
	p.tricks(t, cdn, origin.SignedPath(good, ""), origin.SignedPath(token(now, "0_aaaaaaaa", later), ""), media)
	// A player finds all that it needs with the one address: relative ones keep the token, and one in
	// the query is redirected, whatever is cached.
	p.readsAll(t, at(good, master))
	p.readsAll(t, "http://"+cdn+master+"?token="+good)
	p.readsAll(t, "http://"+cdn+"/live/0_demolive?token="+good)
	// A token that is taken out of a cached question lives on for the seconds that nginx keeps it.
	short := token(now, "0_demolive", time.Now().Add(3*time.Second))
	if code, _ := p.status(t, at(short, media)); code != 200 {
		t.Errorf("a short token: %d", code)
	}
	p.wait(t, 20*time.Second, "a short token to expire", func() bool {
		code, _ := p.status(t, at(short, media))
		return code == 403
	})
	// Keys change while all goes on: a new one first, the oldest gone.
	next := origin.Key{ID: "k3", Secret: "third-secret-of-all-viewers"}
	rotate(next, now)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.wait(t, 20*time.Second, "the new key to open", func() bool {
		code, _ := p.status(t, at(token(next, "0_demolive", later), media))
		return code == 200
	})
	for key, want := range map[origin.Key]int{now: 200, before: 403} { // with an expiry that nginx has not asked about yet
		if code, _ := p.status(t, at(token(key, "0_demolive", later.Add(time.Hour)), media)); code != want {
			t.Errorf("a token of %s after the change: %d", key.ID, code)
		}
	}
}

// tricks asks for media in the cache, and for a playlist that is not there yet, with paths that
// nginx takes for theirs.
func (p *process) tricks(t *testing.T, cdn, good, other, media string) {
	t.Helper()
	for _, path := range []string{
		other + "/kLive/0_aaaaaaaa_1/.." + strings.TrimPrefix(media, "/kLive"), other + "/kLive/0_aaaaaaaa_1/%2e%2e" + strings.TrimPrefix(media, "/kLive"),
		other + "/kLive/0_aaaaaaaa_1/..%2f" + strings.TrimPrefix(media, "/kLive/"), other + "/live/0_aaaaaaaa/../.." + media,
	} {
		if code, cache, _ := raw(t, cdn, path); code != 403 || cache == "HIT" {
			t.Errorf("%s: %d, cache %q", path, code, cache)
		}
	}
	playlist := "/0_demolive_32/dvr.m3u8"
	raw(t, cdn, good+"/kLive/0_demolive_32/.."+playlist) // what an origin has no answer for
	if code, cache, _ := raw(t, cdn, good+"/kLive"+playlist); code != 200 || cache == "HIT" {
		t.Errorf("a playlist that nobody has asked for: %d, cache %q", code, cache)
	}
}

// keyFile is a file for viewer.keys, and what writes two keys into it.
func keyFile(t *testing.T) (file string, rotate func(first, second origin.Key)) {
	file = filepath.Join(t.TempDir(), "keys")
	return file, func(first, second origin.Key) {
		if err := os.WriteFile(file, []byte(first.ID+":"+first.Secret+","+second.ID+":"+second.Secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readsAll holds that a player can read pictures, sound and the manifest of an address.
func (p *process) readsAll(t *testing.T, address string) {
	t.Helper()
	player, err := check.Follow(p.client, address)
	if err != nil {
		t.Fatal(err)
	}
	p.wait(t, 20*time.Second, "a player to read the stream", func() bool {
		if err := player.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		v, a := player.Kind(kinds.Video), player.Kind(kinds.Audio)
		return v != nil && a != nil && len(v.Items) > 2 && player.Manifests.Compared > 0
	})
	if err := player.Err(); err != nil {
		t.Error(err)
	}
}

// TestCacheHits prints what share of the requests of 200 viewers nginx answers itself.
func TestCacheHits(t *testing.T) {
	t.Parallel()
	p := start(t, shortSegments...)
	cdn := startNginx(t, "origin.conf", map[string]string{"ORIGIN": p.http, "SHIELD": ""})
	publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), 0)
	waitPlayable(t, p)
	for _, rendition := range []string{"0_demolive_32", "0_demolive_a1"} {
		p.wait(t, 20*time.Second, "segments to ask for", func() bool {
			return strings.Count(p.get(t.Context(), "http://"+p.http+"/kLive/"+rendition+"/v.m3u8"), ".m4s") >= 3
		})
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 250}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	counts := map[string]map[string]int{}
	fetch := func(class, path string) string {
		resp, err := client.Get("http://" + cdn + path)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		mu.Lock()
		defer mu.Unlock()
		if counts[class] == nil {
			counts[class] = map[string]int{}
		}
		if resp.StatusCode != 200 {
			counts[class][strconv.Itoa(resp.StatusCode)]++
		}
		counts[class][resp.Header.Get("X-Cache")]++
		return string(b)
	}
	end := time.Now().Add(length(60*time.Second, 10*time.Second))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 20 * time.Millisecond)
			fetch("multivariant", allPath+"playlist.m3u8")
			fetch("manifest", allPath+"manifest.mpd")
			for seen := map[string]bool{}; time.Now().Before(end); time.Sleep(2 * time.Second) {
				for _, rendition := range []string{"0_demolive_32", "0_demolive_a1"} {
					folder := "/kLive/" + rendition + "/"
					newest := ""
					for line := range strings.Lines(fetch("playlist", folder+"v.m3u8")) {
						if !strings.HasPrefix(line, "#") {
							newest = strings.TrimSpace(line)
						}
					}
					if newest != "" && !seen[newest] {
						seen[newest] = true
						fetch("media", folder+newest)
					}
				}
			}
		})
	}
	wg.Wait()
	for class, want := range map[string]float64{"multivariant": 0.9, "manifest": 0.9, "playlist": 0.9, "media": 0.97} {
		total, asked := 0, counts[class]["MISS"]+counts[class]["EXPIRED"]
		for what, n := range counts[class] {
			if _, err := strconv.Atoi(what); err == nil {
				t.Errorf("%s: %d answers with %s", class, n, what)
				continue
			}
			total += n
		}
		ratio := 1 - float64(asked)/float64(max(1, total))
		t.Logf("%s: %d requests, %.2f %% from the cache: %v", class, total, 100*ratio, counts[class])
		if ratio < want {
			t.Errorf("%s: %.2f %% came from the cache, want %.0f %%", class, 100*ratio, 100*want)
		}
	}
}

// TestPathTricks sends what no client library would let through.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, path := range []string{
		"/kLive/../state/0_demolive/head.json", "/kLive/%2e%2e/state/0_demolive/head.json", "/kLive/..%2f..%2fetc/passwd", "/../../etc/passwd",
		"/kLive/%252e%252e/%252e%252e/etc/passwd", "/kLive/x%00/v.m3u8", "/kLive/..\\..\\etc", "//etc/passwd", "/kLive/./x/v.m3u8", "/%6bLive/%2e./state",
		"/kLive/" + strings.Repeat("a", 100_000), "/kLive/" + strings.Repeat("../", 20_000), "/kLive/smil:0_demolive_all.smil/\xff\xfe", "/t/x/../../state", "*",
	} {
		conn, err := net.DialTimeout("tcp", p.http, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		answer, _ := io.ReadAll(conn)
		conn.Close()
		line, _, _ := strings.Cut(string(answer), "\r\n")
		code := 0
		fmt.Sscanf(line, "HTTP/1.1 %d", &code)
		if code < 300 || code >= 500 && code != 505 || strings.Contains(string(answer), "root:") || strings.Contains(string(answer), "logSeq") {
			t.Errorf("%.60s: %s", path, line)
		}
		if code == 404 && !strings.Contains(string(answer), "Cache-Control: max-age=1\r\n") {
			t.Errorf("%.60s: a 404 without a short life", path)
		}
	}
	if !p.running() {
		t.Fatal("klive ended")
	}
}

// TestPlaylistLoad prints how many live playlists an origin answers, and what they cost.
func TestPlaylistLoad(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: runs under KLIVE_PROVE=1")
	}
	wrk := tool(t, "wrk", "apt-get install wrk")
	p := start(t)
	publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), 0)
	waitPlayable(t, p)
	for _, path := range []string{"/kLive/0_demolive_32/v.m3u8", "/kLive/0_demolive_32/dvr.m3u8", allPath + "manifest.mpd"} {
		before := p.usage(t).cpu
		out, err := exec.CommandContext(t.Context(), wrk, "-t1", "-c50", "-d10s", "http://"+p.http+path).CombinedOutput()
		if err != nil {
			t.Fatalf("wrk: %v\n%s", err, out)
		}
		var rate float64
		for line := range strings.Lines(string(out)) {
			fmt.Sscanf(strings.TrimSpace(line), "Requests/sec: %f", &rate)
		}
		spent := (p.usage(t).cpu - before).Seconds()
		t.Logf("%s: %.0f requests/s, %.1f µs of CPU each", path, rate, 1e6*spent/(rate*10))
		if rate < 500 || strings.Contains(string(out), "Non-2xx") {
			t.Errorf("%s:\n%s", path, out)
		}
	}
}
