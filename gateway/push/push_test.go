package push

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"klive/gateway"
	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media/mp4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI lets everybody in who has the token.
type fakeAPI struct {
	// stranger, when it is there, holds up the answer to the token "stranger".
	stranger chan struct{}

	mu    sync.Mutex // guards the field below
	calls int
}

func (a *fakeAPI) Authenticate(_ context.Context, r gateway.AuthRequest) (live.EntryFacts, error) {
	if a.stranger != nil && r.Token != nil && *r.Token == "stranger" {
		<-a.stranger
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	switch {
	case r.Entry != "0_rkij47dr" || r.Partner != 102:
		return live.EntryFacts{}, &gateway.APIError{Code: "ENTRY_ID_NOT_FOUND"}
	case r.Token == nil || *r.Token != "secret-token":
		return live.EntryFacts{}, &gateway.APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}
	}
	return live.EntryFacts{}, nil
}

func (a *fakeAPI) Ladder(context.Context, gateway.LadderRequest) (live.Ladder, error) {
	return live.Ladder{Rungs: []live.Rung{{ParamsID: 32, Name: "Source"}}}, nil
}

func (a *fakeAPI) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// rig is a handler on a server, with a gateway behind it.
type rig struct {
	t      *testing.T
	api    fakeAPI
	gw     *gateway.Gateway
	push   *Handler
	server *httptest.Server
	client *http.Client

	mu  sync.Mutex // guards the field below
	log bytes.Buffer
}

func (r *rig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *rig) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
	control := bustest.Start(t)
	bucket := func(name string) *bus.Bucket {
		b, err := control.Bucket(t.Context(), bus.BucketConfig{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ring := bus.NewRing(bus.RingConfig{MaxAge: time.Hour})
	t.Cleanup(ring.Close)
	var err error
	r.gw, err = gateway.New(gateway.Config{
		Log: log, API: &r.api, Media: ring, Feeds: bucket(live.FeedsBucket), Clocks: bucket(live.ClocksBucket), Epochs: bucket(live.EpochsBucket),
		Takeover: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Gateway: r.gw, Logger: log, Registerer: prometheus.NewRegistry(), Turn: time.Second,
		Partner: func(context.Context, string) (int, error) { return 102, nil },
	}
	if change != nil {
		change(&cfg)
	}
	if r.push, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(r.push)
	r.server.Config.Protocols = new(http.Protocols)
	r.server.Config.Protocols.SetHTTP1(true)
	r.server.Config.Protocols.SetUnencryptedHTTP2(true)
	r.server.Start()
	r.client = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	t.Cleanup(func() {
		r.push.Close()
		r.client.CloseIdleConnections()
		r.server.CloseClientConnections()
		r.server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.gw.Close(ctx); err != nil {
			t.Error(err)
		}
		if strings.Contains(r.text(), "secret-token") {
			t.Error("the log holds the token")
		}
		if t.Failed() {
			t.Log(r.text())
		}
	})
	return r
}

// send makes a request and returns the answer's status and the problem that it tells of.
func (r *rig) send(method, path string, body io.Reader, header ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode < 300 {
		return res.StatusCode, ""
	}
	var p struct{ Detail string }
	if res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(text, &p) != nil || p.Detail == "" {
		r.t.Errorf("%s %s: %s with %q", method, path, res.Status, text)
	}
	return res.StatusCode, p.Detail
}

// wait polls for a condition, for as long as a machine with too much to do may need.
func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		last := time.Now().After(end) // a machine may stand still in between
		if ok() {
			return
		}
		if last {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stats of the feed that is on the air.
func (r *rig) stats() live.FeedStats {
	if list := r.gw.Sessions(); len(list) > 0 {
		return list[0].Stats
	}
	return live.FeedStats{}
}

func (r *rig) onAir() int { return len(r.gw.Sessions()) }

func stream(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../infra/media/ts/testdata/multi.ts")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const address = "/ingest/0_rkij47dr_1"

// TestTokens shows the token in each way.
func TestTokens(t *testing.T) {
	for name, c := range map[string]struct {
		path   string
		header []string
	}{
		"query":          {address + "?p=102&t=secret-token", nil},
		"path":           {address + "/t/secret-token?p=102", nil},
		"path, with end": {address + "/t/secret-token/a/b.ts", nil},
		"bearer":         {address + "?p=102&i=0", []string{"Authorization", "Bearer secret-token"}},
		"basic":          {address, []string{"Authorization", "Basic MTAyOnNlY3JldC10b2tlbg=="}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			pipe, in := io.Pipe()
			go func() { in.Write(stream(t)) }()
			done := make(chan int, 1)
			go func() {
				code, _ := r.send(http.MethodPost, c.path, pipe, c.header...)
				done <- code
			}()
			r.wait("the stream to be on the air", func() bool { return r.stats().Frames > 100 })
			in.Close()
			if code := <-done; code != http.StatusOK {
				t.Errorf("the answer is %d", code)
			}
			if n := r.api.count(); n != 1 {
				t.Errorf("Kaltura was asked %d times", n)
			}
		})
	}
}

// A request does not share the refusal of another one that showed another token: strangers
// keep nobody off the air.
func TestStrangersRefusalIsTheirOwn(t *testing.T) {
	r := newRig(t, nil)
	r.api.stranger = make(chan struct{})
	codes := make(chan int, 2)
	send := func(token string) {
		code, _ := r.send(http.MethodPost, address+"?p=102&t="+token, bytes.NewReader(stream(t)))
		codes <- code
	}
	go send("stranger")
	r.wait("the stranger to be first", func() bool {
		r.push.mu.Lock()
		defer r.push.mu.Unlock()
		return len(r.push.feeds) == 1
	})
	go send("secret-token")
	time.Sleep(50 * time.Millisecond) // it waits for the stranger's answer, or comes after it
	close(r.api.stranger)
	got := []int{<-codes, <-codes}
	slices.Sort(got)
	if !slices.Equal(got, []int{http.StatusOK, http.StatusUnauthorized}) {
		t.Errorf("the answers are %d, want 200 for the one with the token", got)
	}
}

func TestRefusals(t *testing.T) {
	const secret = "topsecret77"
	ok := address + "?p=102&t=secret-token"
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		code         int
		says         string
	}{
		"get":             {http.MethodGet, ok, nil, 405, "publishers only"},
		"no stream":       {http.MethodPost, "/ingest/camera?t=" + secret, nil, 400, "stream name"},
		"bad partner":     {http.MethodPost, address + "?p=x&t=" + secret, nil, 400, "p="},
		"bad index":       {http.MethodPost, address + "?p=102&i=3&t=" + secret, nil, 400, "i="},
		"another entry":   {http.MethodPost, address + "?e=0_otherone&t=" + secret, nil, 400, "e="},
		"wrong token":     {http.MethodPost, address + "?p=102&t=" + secret, nil, 401, "token"},
		"no token":        {http.MethodPost, address + "?p=102", nil, 401, "token"},
		"unknown entry":   {http.MethodPost, "/ingest/0_nosuchen_1?p=102&t=" + secret, nil, 404, "0_nosuchen"},
		"a page":          {http.MethodPost, ok, []byte("<html><body>no stream</body></html>"), 415, "neither"},
		"noise":           {http.MethodPost, ok, bytes.Repeat([]byte{0x47, 1, 2}, 70000), 415, "no MPEG transport stream"},
		"no init":         {http.MethodPut, ok, slices.Concat(box("moof", make([]byte, 24)), box("mdat", nil)), 415, "before its initialization"},
		"gigabytes":       {http.MethodPut, ok, []byte("\x7f\xff\xff\xffmoov12345678"), 415, "is more than"},
		"terabytes":       {http.MethodPut, ok, []byte("\x00\x00\x00\x01moof\x00\x00\xff\xff\xff\xff\xff\xff"), 415, "is more than"},
		"box without end": {http.MethodPut, ok, []byte("\x00\x00\x00\x00moof12345678"), 415, "without a size"},
		"cut box":         {http.MethodPut, ok, []byte("\x00\x00\x01\x00ftypiso6"), 415, "ends within"},
		"empty moov":      {http.MethodPut, ok, slices.Concat(box("ftyp", []byte("iso6")), box("moov", nil)), 415, "mp4"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			code, detail := r.send(c.method, c.path, bytes.NewReader(c.body))
			if code != c.code || !strings.Contains(detail, c.says) {
				t.Errorf("the answer is %d %q, want %d and %q", code, detail, c.code, c.says)
			}
			if strings.Contains(detail, secret) || strings.Contains(r.text(), secret) {
				t.Errorf("the token shows in %q or the log", detail)
			}
		})
	}
}

func box(name string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, name...), body...)
}

// TestSlowBody holds that a body that drips, or stops, does not stay.
func TestSlowBody(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Publish, c.Idle = 500*time.Millisecond, time.Second })
	for name, first := range map[string][]byte{"nothing but a beginning": stream(t)[:400], "a stream that stops": stream(t)} {
		pipe, in := io.Pipe()
		go in.Write(first)
		code, detail := r.send(http.MethodPost, address+"?p=102&t=secret-token", pipe)
		if code != http.StatusRequestTimeout || !strings.Contains(detail, "in time") {
			t.Errorf("%s: the answer is %d %q", name, code, detail)
		}
		in.Close()
		r.wait("the end of the feed", func() bool { return r.onAir() == 0 })
	}
}

// TestExpect holds that an encoder that waits for leave to send is refused before it sends.
func TestExpect(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ token, answer string }{{"secret-token", "HTTP/1.1 100 Continue"}, {"guess", "HTTP/1.1 401 Unauthorized"}} {
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s?p=102&t=%s HTTP/1.1\r\nHost: klive\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", address, c.token)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, len(c.answer))
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != c.answer {
			t.Errorf("the answer is %q (%v), want %q", buf, err, c.answer)
		}
		conn.Close()
	}
}

// TestH2C publishes over HTTP/2 without TLS.
func TestH2C(t *testing.T) {
	r := newRig(t, nil)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	pipe, in := io.Pipe()
	go in.Write(stream(t))
	done := make(chan int, 1)
	go func() {
		code, _ := r.send(http.MethodPost, address+"?p=102&t=secret-token", pipe)
		done <- code
	}()
	r.wait("the stream to be on the air", func() bool { return r.stats().Frames > 100 })
	in.Close()
	if code := <-done; code != http.StatusOK {
		t.Errorf("the answer is %d", code)
	}
}

// TestSegments sends one stream as segments, one of them twice and one late: each frame is
// taken once, and Kaltura is asked once.
func TestSegments(t *testing.T) {
	r := newRig(t, nil)
	one, two := stream(t), shifted(stream(t), 2*90000)
	three := shifted(stream(t), 4*90000)
	put := func(name string, b []byte) {
		if code, detail := r.send(http.MethodPut, address+"/t/secret-token/"+name, bytes.NewReader(b)); code != 200 {
			t.Fatalf("%s: %d %s", name, code, detail)
		}
	}
	put("s0.ts", one)
	put("live.m3u8", []byte("#EXTM3U\n"))
	r.wait("the first segment", func() bool { return r.stats().Frames > 0 })
	first := r.frames()
	put("s0.ts", one)
	if n := r.frames(); n != first {
		t.Errorf("a repeated segment brought %d frames", n-first)
	}
	put("s2.ts", three)
	twice := r.frames()
	put("s1.ts", two)
	if n := r.frames(); n != twice || twice != 2*first {
		t.Errorf("%d frames after two segments of %d each and a late one", n, first)
	}
	if code, _ := r.send(http.MethodDelete, address+"/t/secret-token/s0.ts", nil); code != 200 {
		t.Errorf("a DELETE is answered with %d", code)
	}
	if n := r.api.count(); n != 1 {
		t.Errorf("Kaltura was asked %d times", n)
	}
	if code, detail := r.send(http.MethodPut, address+"/t/guess/s3.ts", bytes.NewReader(one)); code != 401 || !strings.Contains(detail, "another token") {
		t.Errorf("a segment with another token is answered with %d %q", code, detail)
	}
}

// frames counts the frames that the feed has taken, as of the last look at it.
func (r *rig) frames() uint64 {
	r.t.Helper()
	var n uint64
	for same := 0; same < 3; time.Sleep(600 * time.Millisecond) {
		if is := r.stats().Frames; is == n {
			same++
		} else {
			n, same = is, 0
		}
	}
	return n
}

// shifted moves the times of a transport stream.
func shifted(b []byte, by uint64) []byte {
	b = bytes.Clone(b)
	for p := b; len(p) >= 188; p = p[188:] {
		pid := int(p[1]&0x1f)<<8 | int(p[2])
		if pid < 0x100 || pid > 0x104 || p[1]&0x40 == 0 {
			continue
		}
		at := 4
		if p[3]&0x20 != 0 {
			at += 1 + int(p[4])
		}
		pes := p[at:]
		if pes[7]&0x80 != 0 {
			addTime(pes[9:], by)
		}
		if pes[7]&0x40 != 0 {
			addTime(pes[14:], by)
		}
	}
	return b
}

func addTime(b []byte, by uint64) {
	v := uint64(b[0]>>1&7)<<30 | uint64(b[1])<<22 | uint64(b[2]>>1)<<15 | uint64(b[3])<<7 | uint64(b[4]>>1)
	v = (v + by) & (1<<33 - 1)
	b[0] = b[0]&0xf1 | byte(v>>30)<<1
	b[1], b[2] = byte(v>>22), byte(v>>15)<<1|1
	b[3], b[4] = byte(v>>7), byte(v)<<1|1
}

// fragmented has ffmpeg make a fragmented MP4 file of one stream of the test stream.
func fragmented(t *testing.T, streams ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg")
	}
	out := filepath.Join(t.TempDir(), "f.mp4")
	args := []string{"-loglevel", "error", "-nostdin", "-i", "../../infra/media/ts/testdata/multi.ts"}
	for _, s := range streams {
		args = append(args, "-map", s)
	}
	args = append(args, "-c:v", "copy", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", out)
	if b, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMovieEnd ends a feed by an empty mfra.
func TestMovieEnd(t *testing.T) {
	r := newRig(t, nil)
	b := append(fragmented(t, "0:v", "0:a:0"), box("mfra", nil)...)
	if code, detail := r.send(http.MethodPost, address+"/live.mp4?p=102&t=secret-token", bytes.NewReader(b)); code != 200 {
		t.Fatalf("%d %s", code, detail)
	}
	r.wait("the end of the feed", func() bool { return r.onAir() == 0 && strings.Contains(r.text(), "the encoder has stopped") })
}

// boxes cuts a file of fragmented MP4 into its initialization section and its fragments.
func boxes(t *testing.T, b []byte) (init []byte, fragments [][]byte) {
	t.Helper()
	for at := 0; at < len(b); {
		box, ok, err := mp4.ReadBox(b[at:])
		if err != nil || !ok {
			t.Fatalf("box at %d: %v", at, err)
		}
		body := b[at : at+int(box.Size)]
		switch box.Type {
		case "ftyp", "moov":
			init = append(init, body...)
		case "moof":
			fragments = append(fragments, bytes.Clone(body))
		case "mdat":
			fragments[len(fragments)-1] = append(fragments[len(fragments)-1], body...)
		}
		at += int(box.Size)
	}
	if len(init) == 0 || len(fragments) == 0 {
		t.Fatalf("%d bytes of initialization, %d fragments", len(init), len(fragments))
	}
	return init, fragments
}

// TestSectionsOutliveTheirGateway lets a packager that sends its initialization sections once go
// on at another gateway, which has them from the bus. After its end nothing is left there.
func TestSectionsOutliveTheirGateway(t *testing.T) {
	control := bustest.Start(t)
	bucket, err := control.Bucket(t.Context(), bus.BucketConfig{Name: live.SectionsBucket, TTL: live.SectionsLife})
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *Config) { c.Sections = bucket }
	video, pictures := boxes(t, fragmented(t, "0:v"))
	audio, sound := boxes(t, fragmented(t, "0:a:0"))
	put := func(r *rig, name string, b []byte, want int) {
		t.Helper()
		if code, detail := r.send(http.MethodPut, address+"/t/secret-token/"+name, bytes.NewReader(b)); code != want {
			t.Fatalf("%s: %d %s", name, code, detail)
		}
	}
	first := newRig(t, with)
	put(first, "init-stream0.m4s", video, 200)
	put(first, "init-stream1.m4s", audio, 200)
	put(first, "chunk-stream0-00001.m4s", pictures[0], 200)
	put(first, "chunk-stream1-00001.m4s", sound[0], 200)
	first.push.Close()

	second := newRig(t, with)
	put(second, "chunk-stream0-00002.m4s", pictures[len(pictures)-1], 200)
	put(second, "chunk-stream1-00002.m4s", sound[len(sound)-1], 200)
	second.wait("pictures and sound", func() bool { s := second.stats(); return s.Video == "H264" && s.Audio == "AAC" && s.Frames > 0 })
	if n := strings.Count(second.text(), "goes on with the initialization sections"); n != 1 {
		t.Errorf("the sections were called back %d times", n)
	}
	put(second, "live.mpd", []byte(`<?xml version="1.0"?><MPD type="static"/>`), 200)
	second.wait("the record to be gone", func() bool {
		_, err := bucket.Get(t.Context(), live.FeedID{Entry: "0_rkij47dr", Suffix: 1}.String())
		return errors.Is(err, bus.ErrNotFound)
	})
	third := newRig(t, func(c *Config) { c.Sections, c.Turn = bucket, 100*time.Millisecond })
	put(third, "chunk-stream0-00003.m4s", pictures[0], 415)
}

func TestStreamKeys(t *testing.T) {
	for address, want := range map[string]string{
		"init-stream0.m4s": "stream0", "chunk-stream0-00012.m4s": "stream0", "chunk-stream1-00012.m4s": "stream1",
		"live0.m4s": "live0", "init.mp4": "", "a/video/init.mp4": "a/video/", "a/video/seg-5.m4s": "a/video/5",
		"Streams(video.cmfv)": "Streams(video",
	} {
		if got := streamKey(address); got != want {
			t.Errorf("%s belongs to %q, want %q", address, got, want)
		}
	}
}

// FuzzMovie feeds bodies to a movie reader.
func FuzzMovie(f *testing.F) {
	f.Add(slices.Concat(box("ftyp", []byte("iso6")), box("moov", nil)))
	f.Add(slices.Concat(box("moof", make([]byte, 24)), box("mdat", []byte("media"))))
	f.Add([]byte("\x00\x00\x00\x01moof\x00\x00\x00\x00\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pub := &nowhere{}
		feed := newFeed(&Handler{metrics: newMetrics(nil)}, target{})
		feed.merge = newMerger(pub, feed.h.metrics)
		m := &movieReader{feed: feed, merge: feed.merge, in: bufferedReader(b)}
		_ = m.read()
		_ = feed.merge.flush()
	})
}
