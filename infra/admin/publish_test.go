package admin

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// deafEndpoint is a WHIP endpoint that refuses entry 0_refused1, and takes any other offer with an answer
// whose candidate nobody listens at.
type deafEndpoint struct {
	mu    sync.Mutex // guards asked
	asked []string   // method, path and bearer of each request
}

func (d *deafEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link")
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	d.mu.Lock()
	d.asked = append(d.asked, r.Method+" "+r.URL.Path+" "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+" "+r.Header.Get("Content-Type")+r.Header.Get("If-Match"))
	d.mu.Unlock()
	switch {
	case strings.Contains(r.URL.Path, "0_refused1"):
		problem(w, http.StatusForbidden, "the token of entry 0_refused1 is wrong")
	case r.Method == http.MethodPost:
		h.Set("Location", "/whip/session-7")
		h.Set("ETag", `"first"`)
		h.Set("Content-Type", "application/sdp")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, deafAnswer(string(body)))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

var (
	sections = regexp.MustCompile(`(?m)^m=(\S+) \d+ (\S+) (\d+)`)
	mids     = regexp.MustCompile(`(?m)^a=mid:(\S+)`)
)

// deafAnswer takes each track of an offer with its first codec, at an address where nobody is (RFC 5737).
func deafAnswer(offer string) string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n")
	kinds, names := sections.FindAllStringSubmatch(offer, -1), mids.FindAllStringSubmatch(offer, -1)
	b.WriteString("a=group:BUNDLE")
	for i := range kinds {
		b.WriteString(" " + strings.TrimSpace(names[i][1]))
	}
	b.WriteString("\r\n")
	for i, kind := range kinds {
		codec := regexp.MustCompile(`(?m)^a=rtpmap:` + kind[3] + ` .*$`).FindString(offer)
		fmt.Fprintf(&b, "m=%s 9 %s %s\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=recvonly\r\na=rtcp-mux\r\na=setup:passive\r\n%s\r\n",
			kind[1], kind[2], kind[3], strings.TrimSpace(names[i][1]), strings.TrimSpace(codec))
		fmt.Fprintf(&b, "a=ice-ufrag:deaf\r\na=ice-pwd:0123456789abcdef01234567\r\na=fingerprint:sha-256 %s\r\n", strings.Repeat("AB:", 31)+"AB")
		if i == 0 {
			b.WriteString("a=candidate:1 1 udp 2130706431 192.0.2.7 8189 typ host\r\na=end-of-candidates\r\n")
		}
	}
	return b.String()
}

// TestPublishIsRefusedInWords tries to publish from the console in a real browser where it can't be: each time the
// page says why, and what to do.
func TestPublishIsRefusedInWords(t *testing.T) {
	needTools(t)
	endpoint := &deafEndpoint{}
	whip := httptest.NewServer(endpoint)
	defer whip.Close()
	serve := func(token string) string {
		web := httptest.NewServer(handler(t, func(c *Config) {
			c.Console, c.Token = nil, token
			c.Cluster = fakeCluster{}
			c.Places.WHIP, c.Places.IngestURL = true, func() string { return whip.URL }
			c.Entries = fakeEntries{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}, {ID: "0_refused1", Partner: 102, Token: "old"}}
		}))
		t.Cleanup(web.Close)
		return web.URL
	}
	elsewhere := strings.Replace(serve(token), "127.0.0.1", "klive.example", 1) + "/?token=" + token
	shots := t.TempDir()
	if dir := os.Getenv("KLIVE_SHOTS"); dir != "" {
		shots = dir
	}
	var saw struct {
		Says   map[string]struct{ Reason, State string }
		Errors []string
	}
	runNode(t, &saw, "publish-refusals.mjs", serve(""), elsewhere, shots)
	for name, want := range map[string][2]string{
		"insecure":    {"open the console over https", "Not published"},
		"no-device":   {"neither a camera nor a microphone", "Not published"},
		"denied":      {"does not let this page use camera and microphone. Allow it", "Not published"},
		"wrong-token": {"the token of entry 0_refused1 is wrong", "Failed"},
		"nobody":      {"Nothing answers at http://127.0.0.1:9", "Failed"},
		"no-address":  {"“0_rkij47dr_1” is no address: a WHIP endpoint looks like https://", "Not published"},
		"unreachable": {"media can't reach it at 192.0.2.7:8189 (UDP)", "Failed"},
	} {
		if got := saw.Says[name]; !strings.Contains(got.Reason, want[0]) || got.State != want[1] {
			t.Errorf("%s: the page says %q and %q; want %q", name, got.State, got.Reason, want)
		}
	}
	if len(saw.Errors) > 0 {
		t.Errorf("the page broke: %q", saw.Errors)
	}
	endpoint.check(t)
}

// check holds what the page asked for against RFC 9725.
func (d *deafEndpoint) check(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := strings.Join(d.asked, "\n")
	for _, want := range []string{
		"POST /whip/0_refused1_1 old application/sdp",
		"POST /whip/0_demolive_1 demo1234 application/sdp",
		`PATCH /whip/session-7 demo1234 application/trickle-ice-sdpfrag"first"`,
		"DELETE /whip/session-7 demo1234",
	} {
		if !strings.Contains(asked, want) {
			t.Errorf("the endpoint was not asked for %q, but for\n%s", want, asked)
		}
	}
}
