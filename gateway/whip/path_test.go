package whip

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// TestChangedPath takes an encoder's way to the server away. It finds another one by an ICE restart, from
// other addresses on both sides: the session and its feed go on, and pictures are there again with a keyframe.
func TestChangedPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	clear := fault.Weather{Delay: 5 * time.Millisecond}
	relay := func() *fault.DatagramRelay {
		return fault.NewDatagramRelay(t, r.whip.Addrs()[0].String(), clear, clear)
	}
	first, second := relay(), relay()
	w := r.mustDial(func(c *publisher.WHIPConfig) { c.Via = first.Addr() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	playing := make(chan error, 1)
	var sent atomic.Uint64
	play := publisher.WHIPPlay{Clip: clip(t, nil), Sent: func(n uint64, _ time.Duration) { sent.Store(n) }}
	go func() { playing <- w.Play(ctx, play) }()
	feed := r.gw.Sessions()[0].Feed
	newest := func() uint64 {
		list := r.frames(feed)
		if len(list) == 0 {
			return 0
		}
		n, _ := publisher.ReadMarkH264(list[len(list)-1].Payload)
		return n
	}
	r.wait("pictures", func() bool { return newest() > 30 })
	local := func() string {
		pair, err := w.Peer().SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		if err != nil || pair == nil {
			t.Fatalf("no path: %v", err)
		}
		return pair.Local.Address + " " + pair.Remote.String()
	}
	was := local()
	first.Set(fault.Weather{Loss: 1}, fault.Weather{Loss: 1})
	time.Sleep(1200 * time.Millisecond)
	if err := w.Move(t.Context(), second.Addr()); err != nil {
		t.Fatal(err)
	}
	moved := sent.Load()
	r.wait("pictures by the other way", func() bool { return newest() > moved+45 })
	if is := local(); is == was || !strings.Contains(is, second.Addr()) {
		t.Errorf("the path was %s and is %s", was, is)
	}
	if passed, _ := second.Count(); passed < 100 {
		t.Errorf("%d datagrams went the other way", passed)
	}
	cancel()
	<-playing
	if now := r.gw.Sessions(); len(now) != 1 || now[0].Feed != feed {
		t.Errorf("on the air are %v; it was %v", now, feed)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	a := audit(t, r.frames(feed))
	t.Logf("%d pictures, %d holes, the longest of %d", a.count, a.holes, a.hole)
	if a.holes > 5 || a.hole > 600 || a.count < 60 { // repeats may have filled all of it
		t.Errorf("%+v", a)
	}
	if log := r.text(); !strings.Contains(log, "the encoder has restarted ICE") {
		t.Error("the log does not tell of the restart")
	}
}

// TestTCP publishes from where no UDP passes: the answer has a candidate on the TCP port, and pictures and
// sound come by it. A restart of ICE makes another connection.
func TestTCP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.TCP = listener })
	w := r.mustDial(func(c *publisher.WHIPConfig) {
		c.Setting = func(se *webrtc.SettingEngine) { se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) }
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	playing := make(chan error, 1)
	go func() { playing <- w.Play(ctx, publisher.WHIPPlay{Clip: clip(t, nil)}) }()
	overTCP := func(what string) {
		t.Helper()
		pair, err := w.Peer().SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		if err != nil || pair == nil || pair.Remote.Protocol != webrtc.ICEProtocolTCP || int(pair.Remote.Port) != listener.Addr().(*net.TCPAddr).Port {
			t.Errorf("%s: the path is %v, %v", what, pair, err)
		}
	}
	r.wait("pictures and sound", func() bool { s := r.stats(); return s.Frames > 90 && s.Video == "H264" && s.Audio == "Opus" })
	overTCP("at first")
	if err := w.RestartICE(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := r.stats().Frames
	r.wait("pictures after a restart", func() bool { return r.stats().Frames > at+60 })
	overTCP("after a restart")
	feed := r.gw.Sessions()[0].Feed
	cancel()
	<-playing
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if a := audit(t, r.frames(feed)); a.hole > 300 {
		t.Errorf("%+v", a)
	}
}
