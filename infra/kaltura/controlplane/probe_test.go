package controlplane

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	files := map[string]string{
		"/live.m3u8":     "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nnone.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nx/media.m3u8\n",
		"/x/media.m3u8":  "#EXTM3U\n#EXTINF:4,\ngone-1.ts\n#EXTINF:4,\n../seg.ts\n",
		"/seg.ts":        "bytes",
		"/over.m3u8":     "#EXTM3U\n#EXTINF:4,\nseg.ts\n#EXT-X-ENDLIST\n",
		"/old.m3u8":      "#EXTM3U\n#EXTINF:4,\nseg.ts\n#EXTINF:4,\ngone-1.ts\n#EXTINF:4,\ngone-2.ts\n#EXTINF:4,\ngone-3.ts\n",
		"/empty.m3u8":    "#EXTM3U\n",
		"/page.m3u8":     "<html>#EXTINF</html>",
		"/huge.m3u8":     "#EXTM3U\n#EXTINF:4,\nseg.ts\n" + strings.Repeat("x", maxPlaylist),
		"/nothing.m3u8":  "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nover.m3u8\n",
		"/one-media.m3u": "#EXTM3U\n#EXTINF:4,\nseg.ts\n",
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	defer web.Close()
	live := NewProbe(web.Client())
	for path, want := range map[string]bool{
		"/live.m3u8": true, "/one-media.m3u": true, "/over.m3u8": false, "/old.m3u8": false, "/empty.m3u8": false, "/page.m3u8": false,
		"/huge.m3u8": false, "/nothing.m3u8": false, "/none.m3u8": false,
	} {
		if got := live(t.Context(), web.URL+path); got != want {
			t.Errorf("%s: live %v, want %v", path, got, want)
		}
	}
	if live(t.Context(), "http://127.0.0.1:1/x") || live(t.Context(), "::not an address") {
		t.Error("nothing there, yet live")
	}
}

// TestSecondEncoderIn2015 is refused while the playlist of the first is live, and only then.
func TestSecondEncoderIn2015(t *testing.T) {
	onAir := true
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onAir {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "#EXTM3U\n#EXTINF:4,\nseg.ts\n")
	}))
	defer web.Close()
	f := start(t, in2015, func(c *Config) { c.PlaybackURL, c.ProbeLive = web.URL, NewProbe(web.Client()) })
	auth := func() string {
		return f.form("liveStream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken)
	}
	has(t, auth(), `"id":"0_demolive"`)
	f.register(0, "ms1", 1)
	has(t, auth(), `"code":"LIVE_STREAM_ALREADY_BROADCASTING"`, `"args":{"ENTRY_ID":"0_demolive","MEDIA_SERVER":"ms1"}`)
	onAir = false
	has(t, auth(), `"id":"0_demolive"`)
}
