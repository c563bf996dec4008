package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type fakeStreams struct {
	list []Stream
	err  error
}

func (f fakeStreams) Streams(context.Context) ([]Stream, error) { return f.list, f.err }

type fakeEntries []Entry

func (f fakeEntries) Entries(context.Context) ([]Entry, error) { return f, nil }

func (fakeEntries) Add(context.Context, NewEntry) (Entry, error) {
	return Entry{}, errors.New("the list is fixed")
}

func (fakeEntries) Profiles(context.Context) ([]Profile, error) {
	return []Profile{{ID: 501, Name: "Passthrough", Default: true}, {ID: 502, Name: "Cloud transcode"}}, nil
}

func (fakeEntries) Remove(context.Context, string, bool) error {
	return errors.New("the list is fixed")
}

const token = "0123456789abcdef"

func handler(t *testing.T, change func(*Config)) *Handler {
	t.Helper()
	c := Config{
		Log: slog.New(slog.DiscardHandler), Version: "v0.0.1",
		Places:  Places{RTMP: ":1935", HTTP: ":8080", App: "kLive"},
		Streams: fakeStreams{},
		Console: fstest.MapFS{"index.html": {Data: []byte("<title>console</title>")}, "app.js": {Data: []byte("1")}},
	}
	if change != nil {
		change(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, target string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const local = "http://127.0.0.1:8081"

func TestStreams(t *testing.T) {
	opened := time.Now().Add(-90 * time.Second)
	list := []Stream{
		{Entry: "0_demolive", Feed: "0_demolive.0.1", Name: "0_demolive_1", Index: "primary", State: StateLive,
			Video: "H264", Audio: "AAC", Width: 1280, Height: 720, FrameRate: 30, Bitrate: 2_500_000,
			Opened: opened, Protocol: "rtmp", Peer: "10.0.0.7:50000", PlayPath: masterPath("0_demolive")},
		{Entry: "0_otherone", Feed: "0_otherone.0.1", Name: "0_otherone_1", Index: "primary", State: StateStarting,
			Opened: time.Now(), Protocol: "rtmp", Peer: "10.0.0.8:50000"},
	}
	h := handler(t, func(c *Config) { c.Streams = fakeStreams{list: list} })
	var got struct{ Streams []map[string]any }
	res := get(h, local+"/v1/streams")
	if err := json.Unmarshal([]byte(body(t, res)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Streams) != 2 {
		t.Fatalf("got %v", got)
	}
	s := got.Streams[0]
	if air := s["onAir"].(float64); air < 90 || air > 100 {
		t.Errorf("onAir is %v, want 90", air)
	}
	if want := "http://127.0.0.1:8080/kLive/smil:0_demolive_all.smil/playlist.m3u8"; s["playUrl"] != want {
		t.Errorf("playUrl is %v, want %v", s["playUrl"], want)
	}
	for key, want := range map[string]any{"state": "live", "video": "H264", "width": 1280.0, "peer": "10.0.0.7:50000"} {
		if s[key] != want {
			t.Errorf("%s is %v, want %v", key, s[key], want)
		}
	}
	if one := body(t, get(h, local+"/v1/streams/0_otherone")); strings.Contains(one, "0_demolive") || !strings.Contains(one, "0_otherone.0.1") {
		t.Errorf("one entry's streams: %s", one)
	}
	checkProblem(t, get(h, local+"/v1/streams/0_nobodyxx"), http.StatusNotFound, "no stream")
}

// The time on air is the encoder's: what lies before its last connect does not count, nor
// what came before the broadcast.
func TestOnAir(t *testing.T) {
	now := time.Now()
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	for _, c := range []struct {
		name   string
		stream Stream
		want   float64
	}{
		{"nothing plays yet", Stream{Opened: ago(30)}, 30},
		{"the broadcast began after the connect", Stream{Opened: ago(30), Started: ago(28)}, 28},
		{"the encoder came back", Stream{Opened: ago(30), Started: ago(7200)}, 30},
		{"the encoder came back, and left", Stream{Opened: ago(30), Started: ago(7200), Gone: ago(10)}, 20},
		{"it left before anything played", Stream{Opened: ago(30), Started: ago(5), Gone: ago(10)}, 0},
	} {
		h := handler(t, func(cfg *Config) { cfg.Streams = fakeStreams{list: []Stream{c.stream}} })
		var got struct{ Streams []struct{ OnAir float64 } }
		if err := json.Unmarshal([]byte(body(t, get(h, local+"/v1/streams"))), &got); err != nil || len(got.Streams) != 1 {
			t.Fatalf("%v: %+v", err, got)
		}
		if air := got.Streams[0].OnAir; air < c.want || air > c.want+20 && c.want > 0 || air > 0 && c.want == 0 {
			t.Errorf("%s: %v s on air, want %v", c.name, air, c.want)
		}
	}
}

// An address that is there says which methods it takes.
func TestMethods(t *testing.T) {
	h := handler(t, func(c *Config) {
		c.Feeds = http.NotFoundHandler()
		c.Entries = fakeEntries(nil)
	})
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodGet, "/v1/feeds/0_demolive.0.1/kick", "POST"},
		{http.MethodPut, "/v1/entries", "GET, POST"},
		{http.MethodGet, "/v1/entries/0_demolive", "DELETE"},
		{http.MethodPost, "/v1/streams", "GET"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, local+c.path, nil))
		res := w.Result()
		if got := res.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow is %q, want %q", c.method, c.path, got, c.allow)
		}
		checkProblem(t, res, http.StatusMethodNotAllowed, "this address takes "+c.allow)
	}
}

func checkProblem(t *testing.T, res *http.Response, status int, detail string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	text := body(t, res)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	if res.StatusCode != status || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, detail) ||
		res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s %+v, want %d …%s…", res.StatusCode, res.Header.Get("Content-Type"), p, status, detail)
	}
}

func TestErrors(t *testing.T) {
	h := handler(t, func(c *Config) { c.Streams = fakeStreams{err: errors.New("the bus is away")} })
	checkProblem(t, get(h, local+"/v1/streams"), http.StatusServiceUnavailable, "log says why")
	checkProblem(t, get(h, local+"/v1/nothing"), http.StatusNotFound, "there are /v1/entries, /v1/recordings, /v1/server, /v1/streams, /v1/streams/{entry}")
	// A node of the bus names only what it has, and of the rest says where it is.
	bus := handler(t, func(c *Config) { c.Streams, c.Cluster = nil, fakeCluster{} })
	checkProblem(t, get(bus, local+"/v1/nothing"), http.StatusNotFound, "Here are /readyz, /metrics and /v1/nodes")
	checkProblem(t, get(bus, local+"/v1/recordings"), http.StatusNotFound, "another role")
	checkProblem(t, get(h, local+"/nothing.js"), http.StatusNotFound, "console")
	checkProblem(t, get(h, "http://evil.example/v1/streams"), http.StatusForbidden, "admin.token")
	if _, err := New(Config{}); err == nil {
		t.Error("a handler without streams was made")
	}
}

func TestEntries(t *testing.T) {
	h := handler(t, func(c *Config) {
		c.Entries = fakeEntries{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}}
	})
	var got struct{ Entries []entryView }
	if err := json.Unmarshal([]byte(body(t, get(h, "http://localhost:8081/v1/entries"))), &got); err != nil {
		t.Fatal(err)
	}
	want := []entryView{{
		ID: "0_demolive", Name: "Demo", Addresses: Addresses{
			Server: "rtmp://localhost/kLive/?p=102&e=0_demolive&i=0&t=demo1234",
			Backup: "rtmp://localhost/kLive/?p=102&e=0_demolive&i=1&t=demo1234",
			Key:    "0_demolive_1", Token: "demo1234",
		},
		FFmpeg: `ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -b:v 2500k -g 60 -c:a aac -b:a 128k -f flv ` +
			`"rtmp://localhost/kLive/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1"`,
		Play: "http://localhost:8080/kLive/smil:0_demolive_all.smil/playlist.m3u8",
	}}
	if diff := cmp.Diff(want, got.Entries); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := body(t, get(h, "http://localhost:8081/v1/entries")); !strings.Contains(text, "?p=102&e=0_demolive&i=1&t=demo1234") {
		t.Errorf("addresses can't be copied out of %s", text)
	}
	if none := body(t, get(handler(t, nil), local+"/v1/entries")); none != "{\"entries\":[],\"managed\":false}\n" {
		t.Errorf("without a control plane: %q", none)
	}
}

func TestPlaces(t *testing.T) {
	asked := httptest.NewRequest(http.MethodGet, "http://[2001:db8::1]:8081/", nil)
	for _, c := range []struct {
		p    Places
		rtmp string
		play string
	}{
		{Places{RTMP: ":1935", HTTP: ":80", App: "a"}, "rtmp://[2001:db8::1]/a", "http://[2001:db8::1]/x"},
		{Places{RTMP: "0.0.0.0:1940", HTTP: "10.0.0.1:8080", App: "a"}, "rtmp://[2001:db8::1]:1940/a", "http://10.0.0.1:8080/x"},
		{Places{App: "a", PublicURL: "https://live.example.com/"}, "", "https://live.example.com/x"},
		{Places{}, "", ""},
		{Places{RTMP: ":1935", App: "a", Ingest: func() string { return "rtmp://live.example.com" }}, "rtmp://live.example.com/a", ""},
		{Places{RTMP: ":1935", App: "a", Ingest: func() string { return "" }}, "rtmp://[2001:db8::1]/a", ""},
	} {
		if got := c.p.rtmp(asked); got != c.rtmp {
			t.Errorf("%v: rtmp %q, want %q", c.p, got, c.rtmp)
		}
		if got := c.p.play("/x", asked); got != c.play {
			t.Errorf("%v: play %q, want %q", c.p, got, c.play)
		}
	}
}

// With a token, nothing but /readyz, /healthz and /api_v3 answers to a stranger.
func TestTokenGuardsTheListener(t *testing.T) {
	h := handler(t, func(c *Config) {
		c.Token = token
		c.ControlPlane = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { plain(w, 200, "api") })
	})
	const host = "http://klive.example:8081"
	for _, path := range []string{"/", "/v1/streams", "/v1/entries", "/v1/server", "/metrics", "/debug/pprof/", "/app.js", "/v1/x"} {
		res := get(h, host+path)
		if text := body(t, res); res.StatusCode != http.StatusUnauthorized || strings.Contains(text, token) {
			t.Errorf("%s without a token: %d %q", path, res.StatusCode, text)
		}
		if res := get(h, host+path, "Authorization", "Bearer wrong"); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a wrong token: %d", path, res.StatusCode)
		}
	}
	for _, path := range []string{"/readyz", "/healthz", "/api_v3", "/api_v3/service/session/action/start"} {
		if res := get(h, host+path); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res := get(h, host+"/v1/streams", "Authorization", "Bearer "+token); res.StatusCode != http.StatusOK {
		t.Errorf("with the token: %d", res.StatusCode)
	}
	page := get(h, host+"/", "Accept", "text/html,*/*")
	if text := body(t, page); page.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "<form") {
		t.Errorf("a browser gets %d %q, want the login form", page.StatusCode, text)
	}
}

func TestLogin(t *testing.T) {
	h := handler(t, func(c *Config) { c.Token = token })
	byLink := get(h, "http://klive.example/player.html?src=a&token="+token)
	if to := byLink.Header.Get("Location"); byLink.StatusCode != http.StatusSeeOther || to != "/player.html?src=a" {
		t.Fatalf("got %d to %q", byLink.StatusCode, to)
	}
	if to := get(h, "http://klive.example//evil.example/?token="+token).Header.Get("Location"); strings.HasPrefix(to, "//") {
		t.Errorf("sent on to %q", to)
	}
	post := func(text string) *http.Response {
		r := httptest.NewRequest(http.MethodPost, "http://klive.example/login", strings.NewReader(url.Values{"token": {text}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if res := post("wrong"); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 {
		t.Errorf("a wrong token: %d %v", res.StatusCode, res.Cookies())
	}
	for _, res := range []*http.Response{byLink, post(token)} {
		cookies := res.Cookies()
		if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
			t.Fatalf("got cookies %v", cookies)
		}
		if strings.Contains(cookies[0].Value, token) {
			t.Error("the cookie shows the token")
		}
		in := get(h, "http://klive.example/", "Cookie", cookies[0].Name+"="+cookies[0].Value)
		if text := body(t, in); in.StatusCode != http.StatusOK || !strings.Contains(text, "console") {
			t.Errorf("with the cookie: %d %q", in.StatusCode, text)
		}
	}
}

func TestReadiness(t *testing.T) {
	reason := errors.New("the bus is away")
	h := handler(t, func(c *Config) { c.Ready = func(context.Context) error { return reason } })
	if res := get(h, local+"/readyz"); res.StatusCode != http.StatusServiceUnavailable || body(t, res) != "not ready: the bus is away\n" {
		t.Errorf("got %d", res.StatusCode)
	}
	reason = nil
	if res := get(h, local+"/readyz"); res.StatusCode != http.StatusOK {
		t.Errorf("got %d", res.StatusCode)
	}
	h = handler(t, func(c *Config) {
		c.Ready = func(context.Context) error { return reason }
		c.Full = func() error { return errors.New("full: 9 streams") }
	})
	if res := get(h, local+"/readyz"); res.StatusCode != http.StatusOK || body(t, res) != "full: 9 streams\n" {
		t.Errorf("full: got %d", res.StatusCode)
	}
	reason = errors.New("the bus is away")
	if res := get(h, local+"/readyz"); res.StatusCode != http.StatusServiceUnavailable || body(t, res) != "not ready: the bus is away\n" {
		t.Errorf("full and not well: got %d", res.StatusCode)
	}
}

func TestPagesAndHeaders(t *testing.T) {
	h := handler(t, nil)
	res := get(h, local+"/")
	if text := body(t, res); !strings.Contains(text, "console") {
		t.Errorf("got %q", text)
	}
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"} {
		if res.Header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/", "/v1/server", "/app.js"} {
		if res := get(h, local+path); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	bare := handler(t, func(c *Config) { c.Console = fstest.MapFS{".keep": {}} })
	if text := body(t, get(bare, local+"/")); !strings.Contains(text, "make build") {
		t.Errorf("without a bundle: %q", text)
	}
	if res := get(bare, local+"/.keep"); res.StatusCode != http.StatusNotFound {
		t.Errorf("/.keep: %d", res.StatusCode)
	}
}

type fakeCluster struct {
	nodes []NodeState
	live  []LiveEntry
	err   error
}

func (f fakeCluster) Nodes(context.Context) ([]NodeState, error) { return f.nodes, f.err }
func (f fakeCluster) Live(context.Context) ([]LiveEntry, error)  { return f.live, f.err }

func TestNodes(t *testing.T) {
	h := handler(t, func(c *Config) {
		c.Cluster = fakeCluster{nodes: []NodeState{{Name: "vm-1", Self: true, Roles: []string{"worker"}, Version: "v0.0.1", Ready: true, Owned: 3, BusRTT: 0.0007}}}
	})
	var got struct{ Nodes []map[string]any }
	if err := json.Unmarshal([]byte(body(t, get(h, local+"/v1/nodes"))), &got); err != nil || len(got.Nodes) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	for key, want := range map[string]any{"name": "vm-1", "ready": true, "owned": 3.0, "busRtt": 0.0007, "self": true} {
		if got.Nodes[0][key] != want {
			t.Errorf("%s is %v, want %v", key, got.Nodes[0][key], want)
		}
	}
	if text := body(t, get(handler(t, func(c *Config) { c.Cluster = fakeCluster{} }), local+"/v1/nodes")); text != "{\"nodes\":[]}\n" {
		t.Errorf("nobody: %s", text)
	}
	broken := handler(t, func(c *Config) { c.Cluster = fakeCluster{err: errors.New("bus away")} })
	checkProblem(t, get(broken, local+"/v1/nodes"), http.StatusServiceUnavailable, "can't list the nodes")
	checkProblem(t, get(broken, local+"/v1/entries"), http.StatusServiceUnavailable, "on the air")
	checkProblem(t, get(handler(t, nil), local+"/v1/nodes"), http.StatusNotFound, "no such address")
}

// What is on the air stands beside what the control plane knows, and alone where that is
// elsewhere.
func TestLiveEntries(t *testing.T) {
	h := handler(t, func(c *Config) {
		c.Entries = fakeEntries{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}, {ID: "0_otherone", Name: "Other", Partner: 102, Token: "t"}}
		c.Cluster = fakeCluster{live: []LiveEntry{
			{ID: "0_demolive", Owner: "vm-1", Epoch: 4, Feeds: []string{"0_demolive.0.1"}, LastSeq: 12, Health: HealthLive},
			{ID: "0_elsewhre", Owner: "vm-2", Health: HealthWaiting},
		}}
	})
	var got struct {
		Entries []struct {
			ID, Name, Server string
			Live             *LiveEntry
		}
	}
	text := body(t, get(h, local+"/v1/entries"))
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Entries) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	e := got.Entries
	if e[0].Live == nil || e[0].Live.Owner != "vm-1" || e[0].Live.LastSeq != 12 || e[0].Server == "" || e[1].Live != nil || e[2].ID != "0_elsewhre" || e[2].Live == nil || e[2].Server != "" {
		t.Errorf("entries: %s", text)
	}
	if !strings.Contains(text, `"owner":"vm-2","feeds":[]`) {
		t.Errorf("no feeds are no list: %s", text)
	}
}

// What a node does not answer it does not name, and one that waits says what for.
func TestNotHereNotYet(t *testing.T) {
	bare := handler(t, func(c *Config) {
		c.Streams = fakeStreams{err: errors.New("no bus")}
		c.Ready = func(context.Context) error { return errors.New("waiting for the bus at nats://bus:4222") }
	})
	if text := body(t, get(bare, local+"/v1/nodes")); !strings.Contains(text, "/v1/streams") || strings.Contains(text, "/v1/nodes") || strings.Contains(text, "kick") {
		t.Errorf("a node of the bus says %s", text)
	}
	checkProblem(t, get(bare, local+"/v1/streams"), http.StatusServiceUnavailable, "waiting for the bus at nats://bus:4222")
	checkProblem(t, get(handler(t, func(c *Config) { c.Streams = fakeStreams{err: errors.New("x")} }), local+"/v1/streams"), http.StatusServiceUnavailable, "log says why")
}

// A node of the bus says what it is to whatever it is asked that it does not know, and how it is ended to who would drain it.
func TestBusNodeSaysWhatItIs(t *testing.T) {
	h := handler(t, func(c *Config) { c.Streams, c.Cluster = nil, fakeCluster{} })
	for _, path := range []string{"/", "/v1/streams", "/v1/usage", "/v1/entries/0_demolive/pin", "/v1/recordings", "/v1/nosuch"} {
		checkProblem(t, get(h, local+path), http.StatusNotFound, "this process is a node of klive's bus")
	}
	checkProblem(t, get(h, local+"/v1/drain"), http.StatusNotFound, "has nothing to drain: end it while the others are there")
	if text := body(t, get(h, local+"/v1/nodes")); text != "{\"nodes\":[]}\n" {
		t.Errorf("nodes: %s", text)
	}
}

// A feed is asked of by programs with the token and by the console, not by other pages.
func TestFeedsAreGuarded(t *testing.T) {
	asked := 0
	h := handler(t, func(c *Config) {
		c.Feeds = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			plain(w, http.StatusOK, r.PathValue("id"))
		})
	})
	post := func(header ...string) *http.Response {
		r := httptest.NewRequest(http.MethodPost, local+"/v1/feeds/0_demolive.0.1/kick", nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if res := post(); res.StatusCode != http.StatusOK || body(t, res) != "0_demolive.0.1\n" {
		t.Errorf("a program: %s", res.Status)
	}
	if res := post("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example.com"); res.StatusCode != http.StatusForbidden || asked != 1 {
		t.Errorf("another page: %s, asked %d times", res.Status, asked)
	}
}
