package push

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"klive/gateway"
	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/live"
)

// pair is two gateways of one deployment that reach each other, in virtual time.
type pair struct {
	t     *testing.T
	api   fakeAPI
	gws   [2]*gateway.Gateway
	pushs [2]*Handler
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t}
	control, pipes := bustest.Start(t), check.NewPipes()
	bucket := func(name string, ttl time.Duration) *bus.Bucket {
		b, err := control.Bucket(t.Context(), bus.BucketConfig{Name: name, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	feeds, claims := bucket(live.FeedsBucket, 5*time.Minute), bucket(live.ClaimsBucket, live.ClaimLife)
	epochs := bucket(live.EpochsBucket, 0)
	ring := bus.NewRing(bus.RingConfig{MaxAge: time.Hour})
	t.Cleanup(ring.Close)
	dial := map[string]string{"one:8082": "one", "two:8082": "two"}
	for i, name := range []string{"one", "two"} {
		address := name + ":8082"
		gw, err := gateway.New(gateway.Config{API: &p.api, Media: ring, Feeds: feeds, Epochs: epochs, Address: address})
		if err != nil {
			t.Fatal(err)
		}
		forwarder := gateway.NewForwarder(gateway.ForwarderConfig{
			Feeds: feeds, Claims: claims, Address: address, Secret: "the-secret-of-both",
			Local: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.pushs[i].ServeHTTP(w, r) }),
			Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
				return pipes.Dialer(dial[to])(ctx, network, to)
			},
		})
		h, err := New(Config{Gateway: gw, Elsewhere: forwarder})
		if err != nil {
			t.Fatal(err)
		}
		p.gws[i], p.pushs[i] = gw, h
		l, err := pipes.Listen(t.Context(), name, address)
		if err != nil {
			t.Fatal(err)
		}
		internal := &http.Server{Handler: forwarder.Receive()}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = internal.Serve(l) }()
		t.Cleanup(func() {
			h.Close()
			forwarder.Close()
			_ = internal.Close()
			<-ended
			if err := gw.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	return p
}

// send makes a request at one of the gateways.
func (p *pair) send(at int, path string, body []byte) {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.pushs[at].ServeHTTP(w, httptest.NewRequestWithContext(p.t.Context(), http.MethodPut, address+"/t/secret-token/"+path+"?p=102", bytes.NewReader(body)))
	if w.Code != http.StatusOK {
		p.t.Errorf("%s at gateway %d: %d %s", path, at, w.Code, w.Body)
	}
}

// TestFirstMediaComeLate: however long after a feed's first request its first media come, and at whichever gateway, one
// gateway has it and Kaltura is asked once.
func TestFirstMediaComeLate(t *testing.T) {
	bustest.Prepare(t)
	for _, wait := range []time.Duration{time.Second, live.ClaimLife + 2*time.Second, 25 * time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				p.send(0, "live.m3u8", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:12\n"))
				time.Sleep(wait)
				p.send(1, "1.ts", stream(t))
				p.send(0, "live.m3u8", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n1.ts\n"))
				if one, two := len(p.gws[0].Sessions()), len(p.gws[1].Sessions()); one != 1 || two != 0 {
					t.Errorf("the first gateway has %d feeds, the second %d", one, two)
				}
				if n := p.api.count(); n != 1 {
					t.Errorf("Kaltura was asked %d times", n)
				}
			})
		})
	}
}

// TestFeedThatNeverComes: a feed that announces itself and brings nothing is let go, and any gateway may have it then.
func TestFeedThatNeverComes(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.send(0, "live.m3u8", []byte("#EXTM3U\n"))
		time.Sleep(time.Minute)
		p.send(1, "1.ts", stream(t))
		if one, two := len(p.gws[0].Sessions()), len(p.gws[1].Sessions()); one != 0 || two != 1 {
			t.Errorf("the first gateway has %d feeds, the second %d", one, two)
		}
		id := live.FeedID{Entry: "0_rkij47dr", Suffix: 1}
		if p.pushs[0].find(id) != nil || p.pushs[1].find(id) == nil {
			t.Error("the feed is remembered where it never came")
		}
	})
}
