package whip

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"klive/infra/publisher"
)

// play sends a clip until the test ends.
func (r *rig) play(w *publisher.WHIP) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	c := clip(r.t, nil)
	go func() { done <- w.Play(ctx, publisher.WHIPPlay{Clip: c}) }()
	r.t.(interface{ Cleanup(func()) }).Cleanup(func() {
		cancel()
		<-done
		_ = w.Close(context.Background())
	})
}

// TestICERestart finds a new way to the server: the feed goes on, and the old entity tag is over.
func TestICERestart(t *testing.T) {
	r := newRig(t, nil)
	w := r.mustDial(nil)
	r.play(w)
	r.wait("media", func() bool { return r.stats().Frames > 30 })
	epoch := r.gw.Sessions()[0].Feed.Epoch
	_, old := w.Session()
	if err := w.RestartICE(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, tag := w.Session()
	if tag == old || tag == "" {
		t.Errorf("the entity tag was %q and is %q", old, tag)
	}
	at := r.stats().Frames
	r.wait("media after the restart", func() bool { return r.stats().Frames > at+100 })
	if list := r.gw.Sessions(); len(list) != 1 || list[0].Feed.Epoch != epoch {
		t.Errorf("the feeds are %+v", list)
	}
	if s := r.stats(); s.Link.Damaged > 1 {
		t.Errorf("the restart cost pictures: %+v", s.Link)
	}
	for _, c := range []struct {
		name, match, kind, body string
		status                  int
	}{
		{"candidates", tag, fragmentType, w.Fragment(), http.StatusNoContent},
		{"a name of the local network", tag, fragmentType, w.Fragment() + "a=candidate:1 1 udp 2113937151 a0a0a0a0-b1b1-c2c2-d3d3-e4e4e4e4e4e4.local 50000 typ host\r\n", http.StatusNoContent},
		{"an old tag", old, fragmentType, w.Fragment(), http.StatusPreconditionFailed},
		{"no tag", "", fragmentType, w.Fragment(), http.StatusPreconditionRequired},
		{"a restart with a tag", tag, fragmentType, "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", http.StatusPreconditionFailed},
		{"another type", tag, "application/sdp", w.Fragment(), http.StatusUnsupportedMediaType},
		{"no fragment", tag, fragmentType, "hello", http.StatusBadRequest},
		{"no credentials", tag, fragmentType, "a=mid:0\r\n", http.StatusBadRequest},
		{"a candidate that is none", tag, fragmentType, w.Fragment() + "a=candidate:hello\r\n", http.StatusBadRequest},
		{"too many candidates", tag, fragmentType, w.Fragment() + strings.Repeat("a=candidate:1 1 udp 1 192.0.2.1 50000 typ host\r\n", maxCandidates), http.StatusBadRequest},
		{"much", tag, fragmentType, strings.Repeat("a=x:y\r\n", 20000), http.StatusRequestEntityTooLarge},
	} {
		at, _ := w.Session()
		header := []string{"Content-Type", c.kind}
		if c.match != "" {
			header = append(header, "If-Match", c.match)
		}
		if res, text := r.send(http.MethodPatch, at[len(r.server.URL):], c.body, header...); res.StatusCode != c.status {
			t.Errorf("%s: %s, %s", c.name, res.Status, text)
		}
	}
	at = r.stats().Frames
	r.wait("media after all that", func() bool { return r.stats().Frames > at+30 })
}

// TestTokenOfASession refuses a request that shows another token than the session's.
func TestTokenOfASession(t *testing.T) {
	r := newRig(t, nil)
	w := r.mustDial(nil)
	defer w.Vanish()
	at, _ := w.Session()
	path := at[len(r.server.URL):]
	if res, _ := r.send(http.MethodDelete, path, "", "Authorization", "Bearer stranger"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("another token: %s", res.Status)
	}
	if res, _ := r.send(http.MethodGet, path, ""); res.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(res.Header.Get("Allow"), "DELETE") {
		t.Errorf("GET: %s", res.Status)
	}
	if res, _ := r.send(http.MethodDelete, path, ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
	r.wait("the end", func() bool { return r.onAir() == 0 })
}
