package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"klive/gateway"
	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
)

// fakeAPI lets everybody in who has the token; its entry has a passphrase, or none.
type fakeAPI struct{ pass string }

func (a *fakeAPI) Authenticate(_ context.Context, r gateway.AuthRequest) (live.EntryFacts, error) {
	switch {
	case r.Entry != "0_rkij47dr":
		return live.EntryFacts{}, &gateway.APIError{Code: "ENTRY_ID_NOT_FOUND"}
	case r.Token == nil || *r.Token != "secret-token":
		return live.EntryFacts{}, &gateway.APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}
	}
	return live.EntryFacts{SRTPass: a.pass}, nil
}

func (a *fakeAPI) Ladder(context.Context, gateway.LadderRequest) (live.Ladder, error) {
	return live.Ladder{Rungs: []live.Rung{{ParamsID: 32, Name: "Source"}}}, nil
}

// rig is a server with a gateway behind it.
type rig struct {
	t       *testing.T
	gw      *gateway.Gateway
	server  *Server
	metrics *prometheus.Registry

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

func newRig(t *testing.T, pass string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, metrics: prometheus.NewRegistry()}
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
		Log: log, API: &fakeAPI{pass}, Media: ring, Feeds: bucket(live.FeedsBucket), Clocks: bucket(live.ClocksBucket), Epochs: bucket(live.EpochsBucket),
		Takeover: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Addresses: []string{"127.0.0.1:0"}, Gateway: r.gw, Logger: log, Registerer: r.metrics,
		Partner: func(context.Context, string) (int, error) { return 102, nil },
	}
	if change != nil {
		change(&cfg)
	}
	if r.server, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(context.Background()) }()
	t.Cleanup(func() {
		r.server.Close()
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.gw.Close(ctx); err != nil {
			t.Error(err)
		}
		if strings.Contains(r.text(), "secret-token") || strings.Contains(r.text(), "wordwordword") {
			t.Error("the log holds a token or a passphrase")
		}
		if t.Failed() {
			t.Log(r.text())
		}
	})
	return r
}

const goodID = "#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=secret-token"

// call dials the server; pass is empty for a caller that does not encrypt.
func (r *rig) call(id, pass string, keyLength int) (srt.Conn, error) {
	c := srt.DefaultConfig()
	c.StreamId, c.Passphrase = id, pass
	if pass != "" {
		c.PBKeylen = keyLength
	}
	return srt.Dial("srt", r.server.Addrs()[0].String(), c)
}

// send plays a stream that ffmpeg made and returns when all of it was sent.
func (r *rig) send(conn srt.Conn) {
	b, err := os.ReadFile("../../infra/media/ts/testdata/multi.ts")
	if err != nil {
		r.t.Error(err)
	}
	for len(b) > 0 {
		n := min(1316, len(b))
		if _, err := conn.Write(b[:n]); err != nil {
			r.t.Error(err)
			return
		}
		b = b[n:]
		time.Sleep(2 * time.Millisecond)
	}
}

// wait polls for a condition, for as long as a machine with too much to do may need.
func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		last := time.Now().After(end) // a machine may stand still in between
		if ok() {
			return
		}
		if last {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (r *rig) onAir() *live.FeedRecord {
	list := r.gw.Sessions()
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

func TestPublish(t *testing.T) {
	for _, c := range []struct {
		name, pass string
		key        int
	}{{"plain", "", 0}, {"AES-128", "wordwordword", 16}, {"AES-192", "wordwordword", 24}, {"AES-256", "wordwordword", 32}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.pass, nil)
			conn, err := r.call(goodID, c.pass, c.key)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r.send(conn)
			r.wait("pictures and sound in the feed's record, with figures of the link", func() bool {
				f := r.onAir()
				return f != nil && f.Protocol == "srt" && f.Stats.Video == "H264" && f.Stats.Frames > 100 &&
					f.Stats.Link != nil && f.Stats.Link.Received > 0 && f.Stats.Link.Encrypted == (c.pass != "")
			})
			conn.Close()
			r.wait("the end of the feed", func() bool { return r.onAir() == nil })
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, entryPass, id, pass string
		code                      srt.RejectionReason
	}{
		{"no stream id", "", "", "", srt.REJX_BAD_REQUEST},
		{"another mode", "", "#!::r=0_rkij47dr_1,m=request,u=102,s=secret-token", "", srt.REJX_BAD_MODE},
		{"wrong token", "", "#!::r=0_rkij47dr_1,u=102,s=guess", "", srt.REJX_UNAUTHORIZED},
		{"unknown entry", "", "#!::r=0_nosuchen_1,u=102,s=secret-token", "", srt.REJX_NOTFOUND},
		{"not encrypted", "wordwordword", goodID, "", srt.REJ_UNSECURE},
		{"encrypted without need", "", goodID, "wordwordword", srt.REJ_UNSECURE},
		{"wrong passphrase", "wordwordword", goodID, "anotherwordword", srt.REJ_BADSECRET},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.entryPass, nil)
			conn, err := r.call(c.id, c.pass, 16)
			if err == nil {
				conn.Close()
				t.Fatal("the caller was let in")
			}
			r.wait("a line with the code", func() bool {
				return strings.Contains(r.text(), "SRT caller refused") && strings.Contains(r.text(), "code="+itoa(c.code))
			})
			if f := r.onAir(); f != nil {
				t.Errorf("%v is on the air", f.Feed)
			}
		})
	}
}

func itoa(c srt.RejectionReason) string {
	var b [4]byte
	for i := range b {
		b[3-i] = byte('0' + c%10)
		c /= 10
	}
	return string(b[:])
}

// TestRefusalsAreToldOnce: who calls again and again is a warning once, for each thing that is wrong.
func TestRefusalsAreToldOnce(t *testing.T) {
	r := newRig(t, "", nil)
	calls := []string{"#!::r=0_rkij47dr_1,u=102,s=guess", "#!::r=0_nosuchen_1,u=102,s=secret-token", "#!::r=0_rkij47dr_1,m=request,u=102,s=secret-token"}
	for range 3 {
		for _, id := range calls {
			if conn, err := r.call(id, "", 16); err == nil {
				conn.Close()
				t.Fatal("the caller was let in")
			}
		}
	}
	r.wait("the refusals in the log", func() bool { return strings.Count(r.text(), "SRT caller refused") == 9 })
	if n := strings.Count(r.text(), "level=WARN"); n != len(calls) {
		t.Errorf("%d warnings, want one for each of %d:\n%s", n, len(calls), r.text())
	}
	if n := testutil.ToFloat64(r.server.metrics.refused.WithLabelValues(string(gateway.ReasonAuth))); n != 6 {
		t.Errorf("the metric counts %v refusals of tokens and entries", n)
	}
}

func TestBusy(t *testing.T) {
	r := newRig(t, "", nil)
	first, err := r.call(goodID, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-stopped }()
	go func() { // it keeps sending
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				r.send(first)
			}
		}
	}()
	r.wait("the first caller's stream", func() bool { f := r.onAir(); return f != nil && f.Clock.LastArrival != 0 })
	if second, err := r.call(goodID, "", 0); err == nil {
		second.Close()
		t.Fatal("a second caller was let in")
	}
	r.wait("a refusal as busy", func() bool { return strings.Contains(r.text(), "code="+itoa(srt.REJX_CONFLICT)) })
}

// TestSilentCaller holds that who connects and sends nothing, or noise, is sent away.
func TestSilentCaller(t *testing.T) {
	for name, send := range map[string][]byte{"nothing": nil, "noise": bytes.Repeat([]byte("no stream "), 100)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "", func(c *Config) { c.Publish = time.Second })
			conn, err := r.call(goodID, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if send != nil {
				if _, err := conn.Write(send); err != nil {
					t.Fatal(err)
				}
			}
			r.wait("a line that says what did not come", func() bool { return strings.Contains(r.text(), "no MPEG transport stream came") })
			r.wait("the end of the feed", func() bool { return r.onAir() == nil })
		})
	}
}

func TestKick(t *testing.T) {
	r := newRig(t, "", nil)
	conn, err := r.call(goodID, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.wait("the feed", func() bool { return r.onAir() != nil })
	if n := r.gw.Kick("0_rkij47dr", "by hand"); n != 1 {
		t.Fatalf("%d feeds were kicked", n)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := conn.Write(make([]byte, 188)); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the caller is still connected")
	}
}

// handshake is a conclusion request whose extensions end where a header should follow.
func handshake(extra int) []byte {
	b := make([]byte, 16+48+extra)
	b[0] = 0x80 // control packet, handshake
	h := b[16:]
	binary.BigEndian.PutUint32(h, 5)
	binary.BigEndian.PutUint16(h[6:], 1) // an HSREQ extension is said to follow
	binary.BigEndian.PutUint32(h[12:], 1500)
	binary.BigEndian.PutUint32(h[16:], 8192)
	binary.BigEndian.PutUint32(h[20:], 0xffffffff) // conclusion
	return b
}

// TestMalformedHandshake sends the handshake that makes the library panic: it costs nothing
// but a count, and the next caller is let in.
func TestMalformedHandshake(t *testing.T) {
	r := newRig(t, "", nil)
	raw, err := net.Dial("udp", r.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for i := range 12 {
		if _, err := raw.Write(handshake(i%3 + 1)); err != nil {
			t.Fatal(err)
		}
	}
	r.wait("the panics to be caught", func() bool { return testutil.ToFloat64(r.server.metrics.panics) >= 1 })
	conn, err := r.call(goodID, "", 0)
	if err != nil {
		t.Fatalf("after malformed handshakes nobody is let in: %v", err)
	}
	conn.Close()
}

// TestPortInUse holds that a port of another program is an error: UDP would share it.
func TestPortInUse(t *testing.T) {
	r := newRig(t, "", nil)
	_, err := Listen(Config{Addresses: []string{r.server.Addrs()[0].String()}, Gateway: r.gw})
	if err == nil {
		t.Error("two servers share a port")
	}
}
