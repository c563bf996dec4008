package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw asks a host for a path as it is written, with no client library's tidying, and returns the
// status code, 0 for no answer, what X-Cache says, and the body.
func raw(t *testing.T, host, path string) (code int, cache, body string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%.80s: %v", path, err)
	}
	return resp.StatusCode, resp.Header.Get("X-Cache"), string(b)
}

// behind is a server that says which address it was asked for, and remembers them.
type behind struct {
	host string
	// mu guards the fields below.
	mu    sync.Mutex
	asked []string
}

func startBehind(t *testing.T) *behind {
	b := &behind{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/kLive/auth" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = append(b.asked, r.RequestURI)
		w.Header().Set("Cache-Control", "public, max-age=60")
		io.WriteString(w, r.RequestURI)
	}))
	t.Cleanup(s.Close)
	b.host = strings.TrimPrefix(s.URL, "http://")
	return b
}

func (b *behind) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.asked...)
}

// TestCacheKey asks nginx for addresses that it could take for another one, and holds that the
// other one's answer is its own: who asks for the first gets and puts nothing there.
func TestCacheKey(t *testing.T) {
	t.Parallel()
	origin := startBehind(t)
	cdn := startNginx(t, "origin.conf", map[string]string{"ORIGIN": origin.host, "SHIELD": ""})
	token := regexp.MustCompile(`^/t/[^/]*`)
	for i, trick := range []string{
		"/kLive/x/../0_rkij47dr_%d/v.m3u8", "/kLive/x/%%2e%%2e/0_rkij47dr_%d/v.m3u8", "/kLive/x/..%%2f0_rkij47dr_%d/v.m3u8",
		"/kLive/./0_rkij47dr_%d/v.m3u8", "//kLive/0_rkij47dr_%d/v.m3u8", "/kLive//0_rkij47dr_%d/v.m3u8", "/kLive/0_rkij47dr_%d%%2fv.m3u8",
		"/t/a/kLive/x/../0_rkij47dr_%d/v.m3u8", "/t/a%%2fb/kLive/0_rkij47dr_%d/v.m3u8", "/t/a/../b/kLive/0_rkij47dr_%d/v.m3u8",
		"/t/a%%2fkLive%%2fx?/kLive/0_rkij47dr_%d/v.m3u8", "/t/a%%23b/kLive/0_rkij47dr_%d/v.m3u8", "/%%74/a/kLive/0_rkij47dr_%d/v.m3u8",
		"/kLive/0_rkij47dr_%d/v.m3u8#x", "/kLive/0_rkij47dr_%d/v.m3%%758", "/kLive/0_rkij47dr_%d/v.m3u8%%3fx",
	} {
		plain := fmt.Sprintf("/kLive/0_rkij47dr_%d/v.m3u8", i)
		_, _, got := raw(t, cdn, fmt.Sprintf(trick, i))
		code, cache, body := raw(t, cdn, plain)
		if code != 200 || body != plain || cache != "MISS" {
			t.Errorf("after "+trick+", which got %q, %s is answered %d %s with %q", i, got, plain, code, cache, body)
		}
		if _, cache, body := raw(t, cdn, fmt.Sprintf(trick, i)); cache == "HIT" && body == plain {
			t.Errorf(trick+" is answered with what lies at %s", i, plain)
		}
	}
	for _, queries := range [][2]string{ // two that are not the same
		{"?DVR", ""}, {"?x#&DVR", "?x"}, {"?a=?DVR", "?DVR"}, {"?flavorIds=33", ""}, {"?a=1&flavorIds=33", "?flavorIds=34"},
		{"?flavorIds=33&flavorIds=34", "?flavorIds=34"}, {"?FLAVORIDS=33", "?flavorIds=33"}, {"?flavorIds&flavorIds=33", "?flavorIds=33"},
		{"?a=?flavorIds=33", "?flavorIds=33"},
	} {
		folder := fmt.Sprintf("/kLive/%x/playlist.m3u8", queries[0]+queries[1])
		raw(t, cdn, folder+queries[0])
		if _, cache, body := raw(t, cdn, folder+queries[1]); cache != "MISS" {
			t.Errorf("%q is answered from the cache as %q", queries[1], body)
		}
	}
	for _, path := range []string{ // what all viewers share
		"/kLive/shared/v.m3u8", "/t/k1.1.all.ab/kLive/shared/v.m3u8", "/t/other/kLive/shared/v.m3u8?token=x", "/kLive/shared/v.m3u8?%44VR",
	} {
		if code, cache, body := raw(t, cdn, path); code != 200 || path != "/kLive/shared/v.m3u8" && cache != "HIT" || token.ReplaceAllString(body, "") != "/kLive/shared/v.m3u8" {
			t.Errorf("%s: %d %s %q", path, code, cache, body)
		}
	}
}

// TestBucketAddresses holds that the bucket is asked for names of klive's and nothing else.
func TestBucketAddresses(t *testing.T) {
	t.Parallel()
	bucket := startBehind(t)
	cdn := startNginx(t, "bucket.conf", map[string]string{"BUCKET_HOST": bucket.host, "BUCKET_PATH": "/media"})
	want := []string{}
	for path, asks := range map[string]string{
		"/kLive/smil:0_demolive_all.smil/playlist.m3u8":     "/media/kLive/smil:0_demolive_all.smil/playlist.m3u8",
		"/kLive/smil:0_demolive_all.smil/playlist.m3u8?DVR": "/media/kLive/smil:0_demolive_all.smil/playlist-dvr.m3u8",
		"/kLive/0_demolive_a1/dvr.m3u8":                     "/media/kLive/0_demolive_a1/dvr.m3u8",
		"/kLive/0_demolive_32/abcdefgh/123-4.m4s":           "/media/kLive/0_demolive_32/abcdefgh/123-4.m4s",
		"/kLive/0_demolive_32/abcdefgh/init-1.mp4":          "/media/kLive/0_demolive_32/abcdefgh/init-1.mp4",
		"/kLive/x/../0_demolive_33/v.m3u8":                  "/media/kLive/0_demolive_33/v.m3u8",
	} {
		if code, _, body := raw(t, cdn, path); code != 200 || body != asks {
			t.Errorf("%s: %d %q", path, code, body)
		}
		want = append(want, asks)
	}
	for _, path := range []string{
		"/kLive/x%20HTTP/1.1%0d%0aX-Header:%20.m3u8", "/kLive/x%20HTTP/1.1%0d%0aX:y%0d%0a%0d%0aGET%20/b.m4s", "/kLive/x/v.m3u8%0a", "/kLive/x/y/z.m4s%0a",
		"/kLive/x/v%3facl%26y.m3u8", "/kLive/x/a%0d%0ab/playlist.m3u8", "/kLive/x%20HTTP%0d%0a/playlist.m3u8", "/kLive/x/%252e%252e/y.m4s", "/kLive/../state/x/head.json", "/kLive/a/../../state/b.m3u8",
	} {
		if code, _, body := raw(t, cdn, path); code != 404 {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if got := bucket.all(); len(got) != len(want) {
		t.Errorf("the bucket was asked for %q", got)
	}
}
