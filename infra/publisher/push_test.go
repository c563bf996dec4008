package publisher

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPatternPushes sends the pattern over HTTP, and says why when the server does not take it: before the first byte, or in
// the midst.
func TestPatternPushes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	refuse := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"type":"about:blank","status":403,"detail":"the token of entry \"0_rkij47dr\" is wrong"}`)
	}
	for name, c := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request) int64
		says   string
	}{
		"taken": {func(_ http.ResponseWriter, r *http.Request) int64 { n, _ := io.Copy(io.Discard, r.Body); return n }, ""},
		"refused at once": {func(w http.ResponseWriter, _ *http.Request) int64 { refuse(w); return 0 },
			`the server answers 403: the token of entry "0_rkij47dr" is wrong`},
		"refused later": {func(w http.ResponseWriter, r *http.Request) int64 {
			n, _ := io.CopyN(io.Discard, r.Body, 188)
			refuse(w)
			return n
		}, `the server answers 403: the token of entry "0_rkij47dr" is wrong`},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan int64, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- c.handle(w, r) }))
			defer server.Close()
			p := Pattern{URL: server.URL + "/ingest/0_rkij47dr_1?p=102&t=secret99", Width: 320, Height: 180, FPS: 10, Bitrate: 100_000, Duration: time.Second}
			err := p.Run(t.Context())
			var refused *StatusError
			switch n := <-got; {
			case c.says == "" && (err != nil || n < 20_000):
				t.Errorf("%d bytes came, %v", n, err)
			case c.says != "" && (!errors.As(err, &refused) || err.Error() != c.says):
				t.Errorf("it says %v, want %s", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret99") {
				t.Errorf("the token is told: %v", err)
			}
		})
	}
	p := Pattern{URL: "http://127.0.0.1:1/ingest/0_rkij47dr_1?p=102&t=secret99", Duration: time.Second}
	if err := p.Run(t.Context()); err == nil || strings.Contains(err.Error(), "secret99") {
		t.Errorf("a server that refuses connections gives %v", err)
	}
}
