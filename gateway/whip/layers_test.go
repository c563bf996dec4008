package whip

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check/fault"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/publisher"
)

// sizes are those of the layers of the tests, in the order in which browsers have them.
var sizes = []struct {
	rid           string
	width, height int
}{{"q", 160, 90}, {"h", 320, 180}, {"f", 640, 360}}

// dialLayers connects a publisher that sends its pictures in all sizes.
func (r *rig) dialLayers(via string) (*publisher.WHIP, []*publisher.Clip) {
	r.t.Helper()
	var rids []string
	var clips []*publisher.Clip
	for _, s := range sizes {
		rids = append(rids, s.rid)
		clips = append(clips, clip(r.t, func(c *publisher.Synthetic) { c.Width, c.Height, c.Bitrate = s.width, s.height, 4*s.width*s.height }))
	}
	return r.mustDial(func(c *publisher.WHIPConfig) { c.Layers, c.Via = rids, via }), clips
}

// segments are the starts of a feed's segments that are on the bus.
func (r *rig) segments(feed live.Feed) (starts []media.Time) {
	r.t.Helper()
	f, err := r.ring.Follow(r.t.Context(), feed.Subject(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for {
		ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond)
		m, err := f.Next(ctx)
		cancel()
		if err != nil {
			return starts
		}
		if s := m.Body.(*live.Part).Segment.Start; !slices.Contains(starts, s) {
			starts = append(starts, s)
		}
	}
}

// TestLayersAreStreams publishes three layers to an entry whose profile takes three bitrates,
// through a network that loses packets: each is a stream of its own, the largest under the name
// that was published. None lacks a picture, because each has its repeats, and segments begin
// together.
func TestLayersAreStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Latency = 3 * time.Second })
	clear := fault.Weather{Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond}
	relay := fault.NewDatagramRelay(t, r.whip.Addrs()[0].String(), clear, clear)
	w, clips := r.dialLayers(relay.Addr())
	playing := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { playing <- w.Play(ctx, publisher.WHIPPlay{Layers: clips}) }()
	r.wait("three feeds", func() bool { return r.onAir() == 3 })
	bad := clear
	bad.Loss = 0.03
	relay.Set(bad, bad)
	r.wait("pictures of all layers", func() bool { // those behind the first begin with a segment of its
		return !slices.ContainsFunc(r.gw.Sessions(), func(s live.FeedRecord) bool { return len(r.frames(s.Feed)) < 150 })
	})
	relay.Set(clear, clear)
	time.Sleep(3200 * time.Millisecond) // for what was lost last
	records := r.gw.Sessions()
	cancel()
	<-playing
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := r.onAir(); n != 0 {
		t.Errorf("%d feeds after DELETE", n)
	}
	var starts [][]media.Time
	for i, s := range records {
		want := sizes[len(sizes)-1-i]
		a := audit(t, r.frames(s.Feed))
		t.Logf("%s: %d×%d, %d pictures, %d holes, %+v", s.Feed, s.Stats.Width, s.Stats.Height, a.count, a.holes, *s.Stats.Link)
		if s.Feed.Suffix != i+1 || s.Stats.Width != want.width || s.Stats.Height != want.height {
			t.Errorf("feed %d is %s with %d×%d", i, s.Feed, s.Stats.Width, s.Stats.Height)
		}
		if a.holes > 0 || a.count < 150 || s.Stats.Link.Retransmitted == 0 || s.Stats.Link.PLIs == 0 {
			t.Errorf("feed %s: %+v, %+v", s.Feed, a, *s.Stats.Link)
		}
		if wantAudio := ""; i > 0 && s.Stats.Audio != wantAudio || i == 0 && s.Stats.Audio != "Opus" {
			t.Errorf("feed %s has the sound %q", s.Feed, s.Stats.Audio)
		}
		starts = append(starts, r.segments(s.Feed))
	}
	together(t, starts)
}

// together holds that streams have segments that begin within a picture of each other.
func together(t *testing.T, starts [][]media.Time) {
	t.Helper()
	common, widest := 0, time.Duration(0)
	for _, at := range starts[0] {
		most := time.Duration(0)
		for _, other := range starts[1:] {
			nearest := time.Hour
			for _, o := range other {
				nearest = min(nearest, o.Sub(at).Abs())
			}
			most = max(most, nearest)
		}
		if most < time.Second/30 {
			common++
			widest = max(widest, most)
		}
	}
	t.Logf("%v segments; %d begin together, at most %v apart", []int{len(starts[0]), len(starts[1]), len(starts[2])}, common, widest)
	if common < 2 {
		t.Errorf("segments begin at %v", starts)
	}
}

// TestBestLayer publishes three layers to an entry whose profile takes one bitrate: the largest is
// on the air. When it stops, the next one follows from a keyframe on.
func TestBestLayer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.api.suffixes = 1
	w, clips := r.dialLayers("")
	begun, stop := make(chan struct{}), make(chan struct{})
	play := publisher.WHIPPlay{Layers: clips, Holds: func(layer int, _ time.Duration) bool {
		select {
		case <-stop:
			return layer == 2
		default:
			return false
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { defer close(begun); _ = w.Play(ctx, play) }()
	width := func(n int) func() bool {
		return func() bool { s := r.stats(); return s.Width == n && s.Frames > 20 }
	}
	r.wait("the largest layer", width(640))
	feed := r.gw.Sessions()[0].Feed
	r.wait("the reason why one layer is used", func() bool { // the other layers may come later than the largest
		log := r.text()
		return strings.Contains(log, "the second one is refused") && strings.Contains(log, "no stream with suffix 2")
	})
	close(stop)
	r.wait("the layer below it", width(320))
	time.Sleep(time.Second)
	if n := r.onAir(); n != 1 {
		t.Errorf("%d feeds are on the air", n)
	}
	cancel()
	<-begun
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if a := audit(t, r.frames(feed)); a.hole > 300 {
		t.Errorf("%+v", a)
	}
}

// TestLayersOfAnOffer reads offers with layers, and refuses those that are malformed.
func TestLayersOfAnOffer(t *testing.T) {
	const ids = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
	rids := func(list ...string) (s string) {
		for _, r := range list {
			s += fmt.Sprintf("a=rid:%s send\r\n", r)
		}
		return s
	}
	for _, c := range []struct{ name, more, layers, refusal string }{
		{"three", ids + rids("q", "h", "f") + "a=simulcast:send q;h;f\r\n", "q h f", ""},
		{"with receivers", ids + rids("1", "2") + "a=rid:3 recv\r\na=simulcast:recv 3 send 1;2\r\n", "1 2", ""},
		{"paused", ids + rids("1", "2") + "a=simulcast:send ~1;2\r\n", "1 2", ""},
		{"of an older draft", ids + rids("1", "2") + "a=simulcast:send rid=1;2\r\n", "1 2", ""},
		{"alternatives", ids + "a=rid:1 send pt=96\r\na=rid:2 send pt=102,103;max-width=640\r\na=rid:3 send max-width=1280; pt=102\r\na=simulcast:send 1,2;3\r\n", "2 3", ""},
		{"one", ids + rids("1") + "a=simulcast:send 1\r\n", "", ""},
		{"one that can be used", ids + "a=rid:1 send pt=96\r\na=rid:2 send pt=102\r\na=simulcast:send 1;2\r\n", "", ""},
		{"none that is described", ids + "a=simulcast:send 1;2\r\n", "", ""},
		{"no layers", rids("1"), "", ""},
		{"to receive", ids + "a=rid:1 recv\r\na=simulcast:recv 1;2\r\n", "", ""},
		{"five", ids + rids("1", "2", "3", "4", "5") + "a=simulcast:send 1;2;3;4;5\r\n", "", "more than 4 layers"},
		{"without names", ids + "a=simulcast:send\r\n", "", "names no layers"},
		{"one twice", ids + rids("1", "2") + "a=simulcast:send 1;2;1\r\n", "", "malformed"},
		{"a name that is none", ids + rids("1") + "a=simulcast:send 1;%\r\n", "", "malformed"},
		{"a long name", ids + rids("1") + "a=simulcast:send 1;" + strings.Repeat("x", 33) + "\r\n", "", "malformed"},
		{"without header extensions", rids("1", "2") + "a=simulcast:send 1;2\r\n", "", "header extension"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := readOffer([]byte(anOffer + c.more))
			if c.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), c.refusal) {
					t.Errorf("%v; want %q", err, c.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(o.layers, " "); got != c.layers {
				t.Errorf("layers %q, want %q", got, c.layers)
			}
			if has := strings.Contains(o.text, "a=simulcast:send "); has != (c.layers != "") {
				t.Errorf("the offer is used as\n%s", o.text)
			}
		})
	}
}

// TestLayersInTheAnswer: all layers are taken, in the encoder's own names.
func TestLayersInTheAnswer(t *testing.T) {
	r := newRig(t, nil)
	offer := anOffer + "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n" +
		"a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=rid:q send\r\na=rid:f send\r\na=simulcast:send q;~f\r\n"
	_, answer := r.send("POST", "/whip?e=0_rkij47dr&p=102&t=secret-token", offer, "Content-Type", "application/sdp")
	for _, want := range []string{"a=rid:q recv\r\n", "a=rid:f recv\r\n", "a=simulcast:recv q;f\r\n", "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n",
		"a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n", "a=rtpmap:103 rtx/90000\r\n"} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer lacks %q:\n%s", want, answer)
		}
	}
}
