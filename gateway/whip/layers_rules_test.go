package whip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/publisher"
)

// onAir is a publication that notes what it gets: a size, "key" or "picture", and of which layer.
type onAir struct {
	gateway.Publication
	mu     sync.Mutex // guards the fields below
	got    []string
	closed bool
	err    error // what Write returns
}

func (p *onAir) Expect(...media.Kind) {}
func (p *onAir) Err() error           { return nil }

func (p *onAir) Close(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

func (p *onAir) SetTrack(t media.Track) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, size(t.Params))
	return nil
}

func (p *onAir) Write(au gateway.AccessUnit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	what := "picture "
	if au.Key {
		what = "key "
	}
	if what += string(au.Payload); len(p.got) == 0 || p.got[len(p.got)-1] != what {
		p.got = append(p.got, what)
	}
	return p.err
}

func (p *onAir) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// take returns what came since the last call.
func (p *onAir) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.got, ", ")
	p.got = nil
	return s
}

// takes is a gateway whose profiles take so many bitrates.
type takes struct {
	Gateway
	suffixes int
	mu       sync.Mutex // guards the field below
	pubs     map[string]*onAir
}

func (g *takes) Publish(ctx context.Context, _ *gateway.Permit, p gateway.Publish) (gateway.Publication, error) {
	_, suffix, err := live.ParseStreamName(p.Name)
	if err != nil {
		return nil, err
	}
	select { // Kaltura takes its time
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if suffix > g.suffixes {
		return nil, &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf("the profile has no stream with suffix %d", suffix)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pubs[p.Name] = &onAir{}
	return g.pubs[p.Name], nil
}

// sender is the layers of a session, and who sends them, in virtual time.
type sender struct {
	t      *testing.T
	s      *session
	gw     *takes
	main   *onAir
	log    bytes.Buffer
	layers map[string]*layer
}

func newSender(t *testing.T, suffixes int) *sender {
	x := &sender{t: t, gw: &takes{suffixes: suffixes, pubs: map[string]*onAir{}}, main: &onAir{}, layers: map[string]*layer{}}
	x.s = &session{
		server: &Server{cfg: Config{Gateway: x.gw, Admission: time.Second, Keyframe: 2 * time.Second}, metrics: newMetrics(prometheus.NewRegistry())},
		to:     gateway.HTTPAddress{ID: live.FeedID{Entry: "0_rkij47dr", Suffix: 1}},
		log:    slog.New(slog.NewTextHandler(&x.log, nil)), offer: &offer{}, pub: x.main, lines: newLines(time.Now()), done: make(chan struct{}),
	}
	names := make([]string, len(sizes))
	for i, s := range sizes {
		names[i] = s.rid
	}
	x.s.layers = newLayers(x.s, names)
	for _, rid := range names {
		tr := &track{s: x.s, rid: rid, id: media.VideoTrack, line: x.s.lines.add(90000, false)}
		tr.line.heard(&rtcp.SenderReport{NTPTime: ntp(0)}, time.Now())
		tr.wanted.Store(time.Now().Add(time.Hour).UnixNano()) // nobody to ask for keyframes
		x.layers[rid] = x.s.layers.add(tr)
	}
	return x
}

// end ends the session.
func (x *sender) end() {
	close(x.s.done)
	x.s.reading.Wait()
	x.s.layers.close(nil)
}

// send sends layers for a while, 20 pictures in a second; keys are those that begin with a
// keyframe.
func (x *sender) send(long time.Duration, layers, keys string) {
	x.t.Helper()
	for n := 0; n < int(long/(50*time.Millisecond)); n++ {
		for _, rid := range strings.Fields(layers) {
			l := x.layers[rid]
			key := n == 0 && slices.Contains(strings.Fields(keys), rid)
			if key && l.params == nil {
				if err := l.setTrack(media.Track{ID: media.VideoTrack, Params: paramsOf(x.t, rid)}); err != nil {
					x.t.Fatal(err)
				}
			}
			now := time.Now()
			u := &handed{t: l.t, time: uint32(now.Sub(x.s.lines.begun) * 9 / 100_000), key: key, payload: []byte(rid), came: now}
			l.t.line.came(u.time, now)
			if err := l.write(u); err != nil {
				x.t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// paramsOf are those of a layer: a configuration record's two parameter sets (ISO/IEC 14496-15
// §5.3.3).
func paramsOf(t *testing.T, rid string) media.Params {
	t.Helper()
	i := slices.IndexFunc(sizes, func(s struct {
		rid           string
		width, height int
	}) bool {
		return s.rid == rid
	})
	c := clip(t, func(s *publisher.Synthetic) { s.Width, s.Height = sizes[i].width, sizes[i].height }).Video.Config[6:]
	n := int(binary.BigEndian.Uint16(c))
	sps, c := c[2:2+n], c[2+n+1:]
	p, err := media.NewH264([][]byte{sps}, [][]byte{c[2:]})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (x *sender) want(what string, p *onAir, got string) {
	x.t.Helper()
	if s := p.take(); s != got {
		x.t.Errorf("%s: %q, want %q", what, s, got)
	}
}

// needed holds the keyframes that are asked for.
func (x *sender) needed(what, want string) {
	x.t.Helper()
	var got []string
	for _, rid := range []string{"f", "h", "q"} {
		urgent, regular := x.s.layers.needs(x.layers[rid], time.Now())
		if urgent {
			rid += " urgent"
		}
		if regular {
			rid += " regular"
		}
		if urgent || regular {
			got = append(got, rid)
		}
	}
	if s := strings.Join(got, ", "); s != want {
		x.t.Errorf("keyframes when %s: %q, want %q", what, s, want)
	}
}

// TestOneLayerAtATime goes through what a publisher does whose network comes and goes.
func TestOneLayerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSender(t, 1)
		defer x.end()
		x.send(time.Second, "q", "q")
		x.want("while others may come", x.main, "")
		x.send(time.Second, "q h", "h")
		x.send(time.Second, "q h", "q h")
		x.want("with one still missing", x.main, "")
		x.send(500*time.Millisecond, "q h", "q h")
		x.want("the larger of two", x.main, "320×180, key h, picture h")
		if log := x.log.String(); strings.Count(log, "second one is refused") != 1 || !strings.Contains(log, "no stream with suffix 2") {
			t.Errorf("the log:\n%s", log)
		}
		x.send(500*time.Millisecond, "q h f", "q f")
		x.want("the largest, late", x.main, "picture h, 640×360, key f, picture f")
		x.send(900*time.Millisecond, "q h", "q h")
		x.send(500*time.Millisecond, "q h f", "q h")
		x.want("a short pause of it", x.main, "picture f")
		time.Sleep(4 * time.Second)
		x.send(50*time.Millisecond, "q h", "q h")
		x.send(500*time.Millisecond, "q h f", "")
		x.want("a pause of all", x.main, "picture f")
		x.needed("the largest is used", "f regular")
		x.send(1200*time.Millisecond, "q h", "q h")
		x.needed("it has stopped", "h urgent")
		x.want("it has stopped, no keyframe", x.main, "")
		x.send(50*time.Millisecond, "q h", "q")
		x.want("a keyframe of the least", x.main, "")
		x.send(50*time.Millisecond, "q h", "q h")
		x.want("a keyframe of the next", x.main, "320×180, key h")
		x.send(3*time.Second, "q h f", "q h f")
		x.want("it is back", x.main, "key h, picture h")
		x.send(2*time.Second, "q h f", "q h f")
		x.want("for a while", x.main, "key h, picture h")
		x.send(time.Second, "q h f", "q h f")
		x.want("it stays", x.main, "key h, 640×360, key f, picture f")
	})
}

// TestLayersOnTheirOwn: a profile that takes two bitrates gets two layers, and one that ends
// leaves the other on the air.
func TestLayersOnTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSender(t, 2)
		x.needed("before any came", "")
		x.send(time.Second, "q h f", "q h f")
		x.want("the largest", x.main, "640×360, key f, picture f")
		second := x.gw.pubs["0_rkij47dr_2"]
		if len(x.gw.pubs) != 1 || second == nil {
			t.Fatalf("published are %v", x.gw.pubs)
		}
		if log := x.log.String(); !strings.Contains(log, `"a layer of simulcast is left out" suffix=3 reason="the profile has no stream with suffix 3"`) {
			t.Errorf("the log:\n%s", log)
		}
		x.want("the second, until its keyframe", second, "")
		x.needed("one for it", "f regular, h urgent regular")
		x.send(time.Second, "q h f", "h")
		x.want("the second", second, "320×180, key h, picture h")
		x.want("the largest", x.main, "picture f")
		x.needed("both are on the air", "f regular, h regular")
		x.send(2*time.Second, "q h", "q")
		x.needed("one has stopped", "h regular")
		second.fail(errors.New("it was kicked"))
		x.send(time.Second, "h f", "h f")
		x.want("the largest, without the second", x.main, "key f, picture f")
		synctest.Wait()
		if log := x.log.String(); !second.closed || !strings.Contains(log, "it was kicked") {
			t.Errorf("closed: %t; the log:\n%s", second.closed, log)
		}
		x.end()
		if x.main.closed {
			t.Error("the layers have closed the session's own publication")
		}
	})
}

// TestLateLayer: a larger layer that comes late takes the first place, and the others move, each
// from a keyframe on; until then a stream has the layer that it had.
func TestLateLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSender(t, 3)
		defer x.end()
		x.send(3*time.Second, "q h", "q h")
		x.send(time.Second, "q h", "q h")
		x.send(time.Second, "q h", "q h")
		second := x.gw.pubs["0_rkij47dr_2"]
		if second == nil {
			t.Fatalf("published are %v", x.gw.pubs)
		}
		x.want("the larger of two", x.main, "320×180, key h, picture h, key h, picture h")
		x.want("the smaller", second, "160×90, key q, picture q")
		x.send(time.Second, "q h f", "f")
		x.want("the largest", x.main, "picture h, 640×360, key f, picture f")
		x.want("the smallest, still", second, "picture q")
		third := x.gw.pubs["0_rkij47dr_3"]
		if third == nil {
			t.Fatalf("published are %v", x.gw.pubs)
		}
		x.needed("the others are to move", "f regular, h urgent regular, q urgent regular")
		x.send(time.Second, "q h f", "q h")
		x.want("the largest", x.main, "picture f")
		x.want("the one below", second, "320×180, key h, picture h")
		x.want("the smallest", third, "160×90, key q, picture q")
	})
}

// TestLayersEnd ends a session while a layer is being published, and one whose layers are on the air.
func TestLayersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSender(t, 3)
		x.send(50*time.Millisecond, "q h f", "q h f")
		x.end()
		if len(x.gw.pubs) != 0 {
			t.Errorf("published are %v", x.gw.pubs)
		}
		x = newSender(t, 3)
		x.send(time.Second, "q h f", "q h f")
		x.end()
		if len(x.gw.pubs) != 2 || !x.gw.pubs["0_rkij47dr_2"].closed || !x.gw.pubs["0_rkij47dr_3"].closed {
			t.Errorf("published are %v", x.gw.pubs)
		}
	})
}
