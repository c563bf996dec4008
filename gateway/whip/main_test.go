package whip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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
	"klive/infra/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI lets everybody in who has the token.
type fakeAPI struct {
	suffixes int // that the entry's profile takes; 0 is any
}

func (*fakeAPI) Authenticate(_ context.Context, r gateway.AuthRequest) (live.EntryFacts, error) {
	switch {
	case r.Entry != "0_rkij47dr" || r.Partner != 102:
		return live.EntryFacts{}, &gateway.APIError{Code: "ENTRY_ID_NOT_FOUND"}
	case r.Token == nil:
		return live.EntryFacts{}, &gateway.APIError{Code: "MISSING_MANDATORY_PARAMETER"}
	case *r.Token != "secret-token":
		return live.EntryFacts{}, &gateway.APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}
	}
	return live.EntryFacts{}, nil
}

func (f *fakeAPI) Ladder(_ context.Context, r gateway.LadderRequest) (live.Ladder, error) {
	if f.suffixes > 0 && r.Suffix > f.suffixes {
		return live.Ladder{}, gateway.ErrUnknownStream
	}
	return live.Ladder{Rungs: []live.Rung{{ParamsID: 32, Name: "Source"}}}, nil
}

// rig is a server with a gateway behind it, on sockets of the loopback.
type rig struct {
	t      testing.TB
	api    fakeAPI
	gw     *gateway.Gateway
	ring   *bus.Ring
	whip   *Server
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

func newRig(t testing.TB, change func(*Config)) *rig {
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
	r.ring = bus.NewRing(bus.RingConfig{MaxAge: time.Hour})
	t.Cleanup(r.ring.Close)
	var err error
	r.gw, err = gateway.New(gateway.Config{
		Log: log, API: &r.api, Media: r.ring, Feeds: bucket(live.FeedsBucket), Clocks: bucket(live.ClocksBucket), Epochs: bucket(live.EpochsBucket),
		Takeover: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Gateway: r.gw, Logger: log, Registerer: prometheus.NewRegistry(), UDP: udp, Loopback: true,
		Partner: func(context.Context, string) (int, error) { return 102, nil },
	}
	if change != nil {
		change(&cfg)
	}
	if r.whip, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(r.whip)
	r.client = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	t.Cleanup(func() {
		r.whip.Close()
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

const address = "/whip/0_rkij47dr_1"

// send makes a request and returns the answer, and the problem that it tells of.
func (r *rig) send(method, path, body string, header ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, strings.NewReader(body))
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
		return res, string(text)
	}
	var p struct{ Detail string }
	if res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(text, &p) != nil || p.Detail == "" {
		r.t.Errorf("%s %s: %s with %q", method, path, res.Status, text)
	}
	return res, p.Detail
}

// dial connects a publisher.
func (r *rig) dial(change func(*publisher.WHIPConfig)) (*publisher.WHIP, error) {
	cfg := publisher.WHIPConfig{URL: r.server.URL + address + "?p=102&i=0", Token: "secret-token", Client: r.client}
	if change != nil {
		change(&cfg)
	}
	return publisher.DialWHIP(r.t.Context(), cfg)
}

func (r *rig) mustDial(change func(*publisher.WHIPConfig)) *publisher.WHIP {
	r.t.Helper()
	for try := 1; ; try++ {
		w, err := r.dial(change)
		var no *publisher.StatusError
		if errors.As(err, &no) && no.Status == http.StatusServiceUnavailable && try < 3 {
			continue // the bus of a machine with too much to do
		}
		if err != nil {
			r.t.Fatal(err)
		}
		return w
	}
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

// clip is one that WebRTC can carry.
func clip(t testing.TB, change func(*publisher.Synthetic)) *publisher.Clip {
	t.Helper()
	s := publisher.Synthetic{RepeatSets: true, GOP: time.Second}
	if change != nil {
		change(&s)
	}
	c, err := publisher.NewSynthetic(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
