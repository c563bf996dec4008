package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"klive/infra/check"
	"klive/infra/live"
)

const clusterSecret = "the-secret-of-the-cluster"

// forwarders are two nodes that know each other: "here" and "there".
type forwarders struct {
	w    *world
	here *Forwarder
	got  chan *http.Request // what reached "there"
}

// newForwarders lets "there" answer with handler. here signs with secret.
func newForwarders(w *world, secret string, handler http.HandlerFunc) *forwarders {
	w.t.Helper()
	f := &forwarders{w: w, got: make(chan *http.Request, 10)}
	net := check.NewPipes()
	l, err := net.Listen(w.t.Context(), "internal", "there:8082")
	if err != nil {
		w.t.Fatal(err)
	}
	there := NewForwarder(ForwarderConfig{Feeds: w.cfg.Feeds, Address: "there:8082", Secret: clusterSecret, Log: w.cfg.Log,
		Local: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			f.got <- r
			handler(rw, r)
		})})
	server := &http.Server{Handler: there.Receive()}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	w.t.Cleanup(func() { server.Close(); <-done })
	f.here = NewForwarder(ForwarderConfig{Feeds: w.cfg.Feeds, Address: "here:8082", Secret: secret, Log: w.cfg.Log,
		Dial: net.Dialer("internal"), Local: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "served here") })})
	w.t.Cleanup(f.here.Close)
	return f
}

// onAir writes the record of a feed that a gateway holds.
func (f *forwarders) onAir(gateway string) {
	f.w.t.Helper()
	r := live.FeedRecord{Feed: live.Feed{FeedID: testID, Epoch: 1}, Gateway: gateway, Opened: time.Now(), Beat: time.Now()}
	b, err := r.Marshal()
	if err != nil {
		f.w.t.Fatal(err)
	}
	if _, err := f.w.cfg.Feeds.Create(f.w.t.Context(), testID.String(), b, 0); err != nil {
		f.w.t.Fatal(err)
	}
}

func (f *forwarders) ask(r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	f.here.Forward(w, r, testID)
	return w.Code, w.Body.String()
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Etag", `"7"`)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "%s %s: %s", r.Method, r.URL.RequestURI(), b)
}

// offered is a request that an encoder sends.
func offered() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://live.example.com/whip/0_rkij47dr_1?p=102&t=a%20b", strings.NewReader("offer"))
	r.Header.Set("Authorization", "Bearer tok")
	r.Header.Set(headerPeer, "203.0.113.1:1") // an encoder can't say who it is
	r.RemoteAddr = "192.0.2.7:5000"
	return r
}

func TestForward(t *testing.T) {
	t.Run("there", func(t *testing.T) {
		inWorld(t, func(w *world) {
			f := newForwarders(w, clusterSecret, echo)
			f.onAir("there:8082")
			code, text := f.ask(offered())
			if code != http.StatusCreated || text != "POST /whip/0_rkij47dr_1?p=102&t=a%20b: offer" {
				t.Errorf("answer %d %q", code, text)
			}
			got := <-f.got
			if got.Host != "live.example.com" || got.RemoteAddr != "192.0.2.7:5000" || got.Header.Get("Authorization") != "Bearer tok" || got.Header.Get(headerSignature) != "" {
				t.Errorf("there: host %s, peer %s, %v", got.Host, got.RemoteAddr, got.Header)
			}
			// What was forwarded once is not forwarded again, wherever the feed has gone meanwhile.
			rec := httptest.NewRecorder()
			got = got.WithContext(context.WithValue(w.t.Context(), forwardedKey{}, true)) // its own has ended
			none := NewForwarder(ForwarderConfig{Feeds: w.cfg.Feeds, Address: "third:8082", Secret: clusterSecret})
			none.Forward(rec, got, testID)
			if rec.Code != http.StatusMisdirectedRequest {
				t.Errorf("in a circle: %d %s", rec.Code, rec.Body)
			}
		})
	})
	t.Run("here", func(t *testing.T) {
		inWorld(t, func(w *world) {
			f := newForwarders(w, clusterSecret, echo)
			f.onAir("here:8082")
			if code, text := f.ask(offered()); code != http.StatusOK || text != "served here" {
				t.Errorf("answer %d %q", code, text)
			}
		})
	})
	t.Run("nowhere", func(t *testing.T) {
		inWorld(t, func(w *world) {
			f := newForwarders(w, clusterSecret, echo)
			if code, text := f.ask(offered()); code != http.StatusNotFound || !strings.Contains(text, "not on the air") {
				t.Errorf("no record: %d %q", code, text)
			}
			f.onAir("there:8082")
			time.Sleep(live.FeedStale)
			if _, err := f.here.Owner(w.t.Context(), testID); !errors.Is(err, ErrNotOnAir) {
				t.Errorf("a dead gateway's record: %v", err)
			}
		})
	})
	t.Run("gone", func(t *testing.T) {
		inWorld(t, func(w *world) {
			f := newForwarders(w, clusterSecret, echo)
			f.here.conns.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
			f.onAir("gone:8082")
			if code, text := f.ask(offered()); code != http.StatusBadGateway {
				t.Errorf("answer %d %q", code, text)
			}
			if log := w.log.String(); !strings.Contains(log, "gateway=gone:8082 feed="+testID.String()) || strings.Contains(log, "/whip/") {
				t.Errorf("the log does not name the feed, or names the address, which may be secret:\n%s", log)
			}
		})
	})
	t.Run("another secret", func(t *testing.T) {
		inWorld(t, func(w *world) {
			f := newForwarders(w, "another-secret", echo)
			f.onAir("there:8082")
			if code, text := f.ask(offered()); code != http.StatusForbidden || !strings.Contains(text, "cluster.secret") {
				t.Errorf("answer %d %q", code, text)
			}
			if log := w.log.String(); strings.Contains(log, "another-secret") || strings.Contains(log, "/whip/") {
				t.Error("the log holds a secret, or an address that may be one")
			}
		})
	})
}

// A gateway that has been silent for a while is asked whether it is there.
func TestForwardOwnerSilent(t *testing.T) {
	inWorld(t, func(w *world) {
		f := newForwarders(w, clusterSecret, echo)
		f.onAir("there:8082")
		time.Sleep(ownerSilent)
		if address, err := f.here.Owner(w.t.Context(), testID); err != nil || address != "there:8082" {
			t.Errorf("a gateway that is there: %q, %v", address, err)
		}
		f.here.cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
		if _, err := f.here.Owner(w.t.Context(), testID); !errors.Is(err, ErrNotOnAir) {
			t.Errorf("one that can't be reached: %v", err)
		}
		canceled, cancel := context.WithCancel(w.t.Context())
		cancel()
		if _, err := f.here.Owner(canceled, testID); errors.Is(err, ErrNotOnAir) {
			t.Errorf("asked by somebody who is gone: %v", err)
		}
	})
}

// front is "here" as a server, for what a recorder can't show.
func (f *forwarders) front() *http.Client {
	f.w.t.Helper()
	net := check.NewPipes()
	l, err := net.Listen(f.w.t.Context(), "front", "front:80")
	if err != nil {
		f.w.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.here.Forward(w, r, testID) })}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	f.w.t.Cleanup(func() { server.Close(); <-done })
	return &http.Client{Transport: &http.Transport{DialContext: net.Dialer("front"), DisableKeepAlives: true}}
}

// A body that trickles may last; one that stops ends the request, on both sides.
func TestForwardIdle(t *testing.T) {
	inWorld(t, func(w *world) {
		ended := make(chan error, 1)
		f := newForwarders(w, clusterSecret, func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
		f.onAir("there:8082")
		client := f.front()
		body, feed := io.Pipe()
		defer feed.Close()
		go func() {
			for range 10 {
				time.Sleep(20 * time.Second)
				fmt.Fprint(feed, "media")
			}
		}()
		start := time.Now()
		res, err := client.Post("http://front/ingest/0_rkij47dr_1", "video/mp2t", body)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusBadGateway {
				t.Errorf("answer %s", res.Status)
			}
		}
		if took := time.Since(start); took != 200*time.Second+forwardIdle {
			t.Errorf("ended after %v: %v", took, err)
		}
		if err := <-ended; err == nil {
			t.Error("the other side saw an orderly end")
		}
	})
}

// As many requests are handed on as may be, and no more; the log says so once.
func TestForwardsAreBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		enough := make(chan struct{})
		f := newForwarders(w, clusterSecret, func(http.ResponseWriter, *http.Request) { <-enough })
		f.onAir("there:8082")
		reg := prometheus.NewRegistry()
		f.here = NewForwarder(ForwarderConfig{Feeds: w.cfg.Feeds, Address: "here:8082", Secret: clusterSecret, Log: w.cfg.Log, Dial: f.here.cfg.Dial,
			MaxRequests: 2, Registerer: reg})
		w.t.Cleanup(f.here.Close)
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				code, _ := f.ask(offered())
				answers <- code
			}()
			<-f.got
		}
		for range 3 {
			if code, text := f.ask(offered()); code != http.StatusTooManyRequests || !strings.Contains(text, "try again") {
				t.Errorf("one more is answered %d %s", code, text)
			}
		}
		if n := strings.Count(w.log.String(), "no more requests are handed on"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if n := testutil.ToFloat64(f.here.metrics.underway); n != 2 {
			t.Errorf("%v are under way", n)
		}
		close(enough)
		for range 2 {
			if code := <-answers; code != http.StatusOK {
				t.Errorf("answered %d", code)
			}
		}
		if code, _ := f.ask(offered()); code != http.StatusOK {
			t.Errorf("with room again: %d", code)
		}
		for outcome, want := range map[string]float64{"sent": 3, "refused": 3, "unanswered": 0} {
			if n := testutil.ToFloat64(f.here.metrics.requests.WithLabelValues(outcome)); n != want {
				t.Errorf("%s: %v, want %v", outcome, n, want)
			}
		}
	})
}

// An answer is passed on as it comes.
func TestForwardStreams(t *testing.T) {
	inWorld(t, func(w *world) {
		more := make(chan struct{})
		f := newForwarders(w, clusterSecret, func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(rw, "one")
			rw.(http.Flusher).Flush()
			<-more
			fmt.Fprintln(rw, "two")
		})
		f.onAir("there:8082")
		res, err := f.front().Get("http://front/x")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() || lines.Text() != "one" {
			t.Fatalf("first line %q, %v", lines.Text(), lines.Err())
		}
		close(more)
		if !lines.Scan() || lines.Text() != "two" {
			t.Errorf("second line %q, %v", lines.Text(), lines.Err())
		}
	})
}

func TestSignature(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	signed := func(secret string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "http://gw:8082/v1/feeds/x/kick?a=1", nil)
		r.RemoteAddr = "192.0.2.1:5"
		sign(r, secret, "192.0.2.7:5000", now)
		return r
	}
	for _, tt := range []struct {
		name   string
		secret string
		change func(*http.Request)
		at     time.Duration
		want   error
	}{
		{"as it was sent", clusterSecret, func(*http.Request) {}, 0, nil},
		{"a while on its way", clusterSecret, func(*http.Request) {}, 20 * time.Second, nil},
		{"kept", clusterSecret, func(*http.Request) {}, time.Minute, errSignedOld},
		{"from a clock that is ahead", clusterSecret, func(*http.Request) {}, -time.Minute, errSignedOld},
		{"another method", clusterSecret, func(r *http.Request) { r.Method = http.MethodDelete }, 0, errUnsigned},
		{"another query", clusterSecret, func(r *http.Request) { r.URL.RawQuery = "a=2" }, 0, errUnsigned},
		{"another sender", clusterSecret, func(r *http.Request) { r.Header.Set(headerPeer, "192.0.2.8:1") }, 0, errUnsigned},
		{"another time", clusterSecret, func(r *http.Request) { r.Header.Set(headerTime, "1772366400001") }, 0, errUnsigned},
		{"no signature", clusterSecret, func(r *http.Request) { r.Header.Del(headerSignature) }, 0, errUnsigned},
		{"no secret, from elsewhere", "", func(*http.Request) {}, 0, errNotLocal},
		{"no secret, from this host", "", func(r *http.Request) { r.RemoteAddr = "127.0.0.1:5" }, 0, nil},
		{"no secret, a page in a browser", "", func(r *http.Request) { r.RemoteAddr = "127.0.0.1:5"; r.Header.Del(headerSignature) }, 0, errUnsigned},
	} {
		r := signed(tt.secret)
		tt.change(r)
		if err := verify(r, tt.secret, now.Add(tt.at)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestKickFeed(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		s, other := w.publish(g, live.Primary, "_1"), w.publish(g, live.Backup, "_1")
		if !g.KickFeed(testID, "the show is over") || reason(s.Err()) != ReasonKicked || !strings.Contains(s.Err().Error(), "the show is over") {
			t.Errorf("kicked: %v", s.Err())
		}
		<-s.finished
		if g.KickFeed(testID, "again") || other.Err() != nil {
			t.Errorf("kicked twice, or the other one: %v", other.Err())
		}
		other.Close(nil)
	})
}
