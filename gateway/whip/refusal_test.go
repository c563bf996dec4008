package whip

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"klive/infra/publisher"
)

// anOffer is what a browser sends, without what does not matter here.
const anOffer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" + audioSection + videoSection

const (
	audioSection = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n" + secure + "a=sendonly\r\na=rtcp-mux\r\n" +
		"a=rtpmap:111 opus/48000/2\r\na=ssrc:1001 cname:x\r\n"
	videoSection = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n" + secure + "a=sendonly\r\na=rtcp-mux\r\n" +
		"a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n" +
		"a=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n" +
		"a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=ssrc:1002 cname:x\r\n"
	secure = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n" +
		"a=fingerprint:sha-256 6B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n"
)

// TestRefusalsAreToldOnce: what asks for the same wrong thing again and again is one warning, and not a log of them.
func TestRefusalsAreToldOnce(t *testing.T) {
	r := newRig(t, nil)
	for range 10 {
		if res, _ := r.send("POST", "/whip/nonsense", "x"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("answered %d", res.StatusCode)
		}
	}
	if n := strings.Count(r.text(), `level=WARN msg="WHIP request refused"`); n != 1 {
		t.Errorf("%d warnings of 10 requests", n)
	}
}

// TestRefusals answers what can't be taken with a status and a reason.
func TestRefusals(t *testing.T) {
	r := newRig(t, nil)
	const sdp = "application/sdp"
	bearer := "Bearer secret-token"
	none := strings.NewReplacer(audioSection, "", videoSection, "").Replace(anOffer)
	for _, c := range []struct {
		name, method, path, token, kind, body string
		status                                int
		says                                  string
	}{
		{"no token", "POST", address + "?p=102", "", sdp, anOffer, 401, ""},
		{"wrong token", "POST", address + "?p=102", "Bearer wrong", sdp, anOffer, 401, "token"},
		{"wrong entry", "POST", "/whip/0_aaaaaaaa_1?p=102", bearer, sdp, anOffer, 404, "0_aaaaaaaa"},
		{"wrong partner", "POST", address + "?p=103", bearer, sdp, anOffer, 404, ""},
		{"no partner that is a number", "POST", address + "?p=x", bearer, sdp, anOffer, 400, "p="},
		{"a third index", "POST", address + "?p=102&i=2", bearer, sdp, anOffer, 400, "i="},
		{"no stream", "POST", "/whip", bearer, sdp, anOffer, 400, "/whip/"},
		{"a name that is none", "POST", "/whip/hello%20world", bearer, sdp, anOffer, 400, "/whip/"},
		{"two entries", "POST", address + "?e=0_bbbbbbbb", bearer, sdp, anOffer, 400, "e="},
		{"a long address", "POST", "/whip/" + strings.Repeat("x", 600), bearer, sdp, anOffer, 400, "long"},
		{"another type", "POST", address + "?p=102", bearer, "application/json", "{}", 415, sdp},
		{"1 MB", "POST", address + "?p=102", bearer, sdp, strings.Repeat("a=x\r\n", 200_000), 413, "larger"},
		{"nothing", "POST", address + "?p=102", bearer, sdp, "", 400, "SDP"},
		{"malformed", "POST", address + "?p=102", bearer, sdp, "v=0\r\nhello", 400, "SDP"},
		{"no media", "POST", address + "?p=102", bearer, sdp, none, 422, "no media"},
		{"a data channel", "POST", address + "?p=102", bearer, sdp, anOffer + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n" + secure, 422, "data channels"},
		{"only receives", "POST", address + "?p=102", bearer, sdp, strings.ReplaceAll(anOffer, "sendonly", "recvonly"), 422, "sendonly"},
		{"two tracks of pictures", "POST", address + "?p=102", bearer, sdp, anOffer + strings.ReplaceAll(videoSection, "mid:1", "mid:2"), 422, "one of each"},
		{"no codec that can be used", "POST", address + "?p=102", bearer, sdp, strings.NewReplacer("H264", "H263", "VP8", "H261").Replace(anOffer), 422, "send H.264"},
		{"pictures that nobody could play", "POST", address + "?p=102", bearer, sdp, strings.ReplaceAll(anOffer, "H264", "H263"), 422, "VP8, which no player"},
		{"no sound that can be used", "POST", address + "?p=102", bearer, sdp, strings.ReplaceAll(anOffer, "opus", "PCMU"), 422, "Opus"},
		{"no encryption", "POST", address + "?p=102", bearer, sdp, strings.ReplaceAll(anOffer, "a=fingerprint", "a=x-fingerprint"), 400, "fingerprint"},
		{"many sections", "POST", address + "?p=102", bearer, sdp, anOffer + strings.Repeat(audioSection, maxSections), 400, "sections"},
		{"many payload types", "POST", address, "", sdp, strings.Replace(anOffer, "UDP/TLS/RTP/SAVPF ", "UDP/TLS/RTP/SAVPF "+strings.Repeat("90 ", maxFormats), 1), 400, "payload types"},
		{"many attributes", "POST", address, "", sdp, anOffer + strings.Repeat("a=x\r\n", maxAttributes), 400, "attributes"},
		{"GET", "GET", address, "", "", "", 405, "POST"},
		{"a session that is none", "DELETE", address + "/0-nosuch", "", "", "", 404, "session"},
		{"candidates for it", "PATCH", address + "/0-nosuch", "", fragmentType, "", 404, "session"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.kind != "" {
				header = append(header, "Content-Type", c.kind)
			}
			if c.token != "" {
				header = append(header, "Authorization", c.token)
			}
			res, text := r.send(c.method, c.path, c.body, header...)
			if res.StatusCode != c.status || !strings.Contains(text, c.says) {
				t.Errorf("%s: %s; want %d with %q", res.Status, text, c.status, c.says)
			}
			if res.StatusCode == 401 && res.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
	if n := r.onAir(); n != 0 {
		t.Errorf("%d feeds are on the air", n)
	}
	if one := len(r.whip.sessions); one != 0 || r.whip.opening != 0 || r.whip.undecided != 0 {
		t.Errorf("%d sessions, %d opening, %d undecided", one, r.whip.opening, r.whip.undecided)
	}
}

// TestAnswer looks at what a browser gets: H.264 alone, its own profile, stereo, this side
// waiting for the other to begin.
func TestAnswer(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.ICEServers = []ICEServer{{URL: "stun:stun.example.com:3478"}, {URL: "turn:turn.example.com:3478", Username: "user", Credential: `pass"word`}}
	})
	res, answer := r.send("POST", "/whip?e=0_rkij47dr&p=102&t=secret-token", anOffer, "Content-Type", "application/sdp; charset=utf-8")
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", res.Status, answer)
	}
	for _, want := range []string{
		"m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n", "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n",
		"a=rtpmap:103 rtx/90000\r\n", "a=rtcp-fb:102 nack pli\r\n", "stereo=1", "a=setup:passive\r\n", "a=recvonly\r\n", "a=candidate:", "a=rtcp-mux\r\n",
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer lacks %q:\n%s", want, answer)
		}
	}
	for _, not := range []string{"VP8", "42e01f", "sendrecv"} {
		if strings.Contains(answer, not) {
			t.Errorf("the answer has %q:\n%s", not, answer)
		}
	}
	h := res.Header
	if !strings.HasPrefix(h.Get("Location"), "/whip/0_rkij47dr_1/0-") || len(h.Get("ETag")) < 10 || h.Get("Access-Control-Allow-Origin") != "*" ||
		h.Get("Accept-Patch") != fragmentType || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("the headers are %v", h)
	}
	if links := h.Values("Link"); len(links) != 2 || links[0] != `<stun:stun.example.com:3478>; rel="ice-server"` ||
		links[1] != `<turn:turn.example.com:3478>; rel="ice-server"; username="user"; credential="pass\"word"; credential-type="password"` {
		t.Errorf("the links are %q", links)
	}
	if res, text := r.send("DELETE", h.Get("Location"), ""); res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", res.Status, text)
	}
}

// TestPreflight lets a page of another site publish.
func TestPreflight(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.ICEServers = []ICEServer{{URL: "stun:stun.example.com:3478"}, {URL: "turn:turn.example.com:3478", Username: "user", Credential: "password"}}
	})
	res, _ := r.send("OPTIONS", address, "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
	h := res.Header
	if res.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "PATCH") ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Accept-Post") != "application/sdp" {
		t.Errorf("%s, %v", res.Status, h)
	}
	if links := h.Values("Link"); len(links) != 1 || links[0] != `<stun:stun.example.com:3478>; rel="ice-server"` {
		t.Errorf("anybody is told of %q", links)
	}
}

// TestTakeover lets another encoder in when the one before has been silent, and not before.
func TestTakeover(t *testing.T) {
	r := newRig(t, nil)
	first := r.mustDial(nil)
	defer first.Vanish()
	r.play(first)
	r.wait("media", func() bool { return r.stats().Frames > 10 })
	_, err := r.dial(nil)
	if status, ok := err.(*publisher.StatusError); !ok || status.Status != http.StatusConflict || !strings.Contains(status.Text, "already being published") {
		t.Fatalf("beside the first: %v", err)
	}
	first.Vanish()
	second := r.mustDial(nil)
	r.play(second)
	r.wait("the second", func() bool {
		list := r.gw.Sessions()
		return len(list) == 1 && list[0].Feed.Epoch == 2 && list[0].Stats.Frames > 10
	})
}

// TestTakeoverOfNobody lets an encoder in when the one before has an answer and never connects.
func TestTakeoverOfNobody(t *testing.T) {
	r := newRig(t, nil)
	if res, _ := r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp"); res.StatusCode != http.StatusCreated {
		t.Fatal(res.Status)
	}
	first := r.gw.Sessions()[0].Feed
	r.play(r.mustDial(nil))
	r.wait("the second", func() bool {
		list := r.gw.Sessions()
		return len(list) == 1 && list[0].Feed.Epoch > first.Epoch && list[0].Stats.Frames > 10
	})
}

// TestNobodyConnects ends a session whose encoder never comes, and one that says nothing more.
func TestNobodyConnects(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Publish, c.Idle = 300*time.Millisecond, 500*time.Millisecond })
	res, _ := r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp")
	if res.StatusCode != http.StatusCreated || r.onAir() != 1 {
		t.Fatalf("%s, %d on the air", res.Status, r.onAir())
	}
	r.wait("the end", func() bool { return r.onAir() == 0 })
	_, _ = r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp")
	r.wait("the end of the next one", func() bool { return r.onAir() == 0 })
	if !strings.Contains(r.text(), "webrtc.listen must be reachable") {
		t.Error("the log does not say what to do")
	}
	if n := strings.Count(r.text(), `level=WARN msg="WHIP publication ended"`); n != 1 {
		t.Errorf("%d warnings of one host within a minute", n)
	}
	w := r.mustDial(nil)
	defer w.Vanish()
	if err := w.Play(t.Context(), publisher.WHIPPlay{Clip: clip(t, nil), Limit: 200 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	r.wait("the end", func() bool { return r.onAir() == 0 })
	if !strings.Contains(r.text(), "nothing came for") {
		t.Error("the log does not say why")
	}
}

// TestLimit takes as many sessions as it is told to.
func TestLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessions = 1 })
	w := r.mustDial(nil)
	defer w.Vanish()
	if res, text := r.send("POST", address+"?p=102&i=1&t=secret-token", anOffer, "Content-Type", "application/sdp"); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %s", res.Status, text)
	}
}

// stall begins to send an offer and sends no more of it.
func (r *rig) stall() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, "POST "+address+"?p=102 HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0")
	return conn
}

// TestStrangersTakeNoRoom lets an encoder in while others, who have shown nothing yet, are waited for.
func TestStrangersTakeNoRoom(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessions = 1 })
	undecided := func() int { r.whip.mu.Lock(); defer r.whip.mu.Unlock(); return r.whip.undecided }
	for n := range undecidedFactor - 1 {
		r.stall()
		r.wait("the request", func() bool { return undecided() == n+1 })
	}
	w := r.mustDial(nil)
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r.stall()
	r.wait("the last request", func() bool { return undecided() == undecidedFactor })
	if res, text := r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp"); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(text, "requests") {
		t.Errorf("one too many: %s: %s", res.Status, text)
	}
}

// TestSlowOffer refuses an offer that does not come.
func TestSlowOffer(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Admission = 300 * time.Millisecond })
	conn := r.stall()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(text), "did not come within 300ms") {
		t.Errorf("%s: %s", res.Status, text)
	}
}
