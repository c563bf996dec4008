package bus_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// lines is a log that a test reads.
type lines struct {
	// mu guards the fields below.
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), word)
}

func startBeats(t *testing.T, c *bus.Control, name string, log *lines) *bus.Beats {
	t.Helper()
	cfg := bus.BeatsConfig{Name: name, Payload: func() []byte { return []byte("I am " + name) }}
	if log != nil {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	b, err := bus.StartBeats(t.Context(), c, cfg)
	must(t, err)
	return b
}

func names(b *bus.Beats) string {
	var out []string
	for _, p := range b.Peers() {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func TestBeatsAreHeard(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		a := startBeats(t, n.Control(), "a", nil)
		defer a.Close()
		other := bustest.Connect(t, n, "b")
		b := startBeats(t, other, "b", nil)
		time.Sleep(10 * time.Second)
		for _, x := range []*bus.Beats{a, b} {
			peers := x.Peers()
			if names(x) != "a b" || string(peers[0].Data) != "I am a" || time.Since(peers[1].Heard) > 600*time.Millisecond {
				t.Fatalf("heard %v", peers)
			}
			if d := x.Hearing(); d < 9*time.Second || d > 10*time.Second {
				t.Errorf("after 10 s the bus has been heard for %v", d)
			}
		}
		if d := a.Silence("b"); d > 600*time.Millisecond {
			t.Errorf("b is silent for %v while it beats", d)
		}
		other.Close() // as a killed process would
		time.Sleep(2 * time.Second)
		if d := a.Silence("b"); d < 1900*time.Millisecond || d > 2600*time.Millisecond {
			t.Errorf("b, 2 s after its end, is silent for %v", d)
		}
		time.Sleep(time.Minute)
		if names(a) != "a" {
			t.Errorf("after a minute a still knows %q", names(a))
		}
		if d := a.Silence("never"); d < time.Minute {
			t.Errorf("who was never heard in 72 s is silent for %v", d)
		}
	})
}

// TestQuietBeats has a process that only tells that it is there: it is known to all and knows
// all, and the beats of the others do not wake it.
func TestQuietBeats(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		control := bustest.Connect(t, n, "quiet")
		quiet, err := bus.StartBeats(t.Context(), control, bus.BeatsConfig{Name: "quiet", Quiet: true})
		must(t, err)
		defer quiet.Close()
		a := startBeats(t, n.Control(), "a", nil)
		defer a.Close()
		time.Sleep(5 * time.Second)
		before := control.Traffic().InMsgs
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			for _, b := range []*bus.Beats{quiet, a} {
				for _, p := range b.Peers() {
					if since := time.Since(p.Heard); since > 2100*time.Millisecond {
						t.Fatalf("%s was heard %v ago", p.Name, since)
					}
				}
				if names(b) != "a quiet" {
					t.Fatalf("knows %q", names(b))
				}
			}
			if d := a.Silence("never"); d < 4*time.Second {
				t.Fatalf("the one that watches heard nothing for %v", d)
			}
		}
		if got := control.Traffic().InMsgs - before; got > 12 {
			t.Errorf("%d messages came in ten seconds, of two processes", got)
		}
	})
}

func TestBeatsEndWithGoodBye(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		a, b := startBeats(t, n.Control(), "a", nil), startBeats(t, bustest.Connect(t, n, "b"), "b", nil)
		defer a.Close()
		time.Sleep(time.Second)
		b.Close()
		time.Sleep(10 * time.Millisecond)
		if names(a) != "a" {
			t.Errorf("after b's good-bye a knows %q", names(a))
		}
	})
}

func TestBeatIsSentAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		count := 0
		a, err := bus.StartBeats(t.Context(), n.Control(), bus.BeatsConfig{Name: "a", Every: 10 * time.Second,
			Payload: func() []byte { count++; return fmt.Append(nil, count) }})
		must(t, err)
		defer a.Close()
		time.Sleep(time.Second)
		a.Send()
		time.Sleep(10 * time.Millisecond)
		if p := a.Peers(); len(p) != 1 || string(p[0].Data) != "2" {
			t.Errorf("heard %v, want beat 2", p)
		}
	})
}

// TestSilenceCountsOnlyWhileHearing cuts the listener off: nobody is silent then, and after
// it the count begins anew.
func TestSilenceCountsOnlyWhileHearing(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		far := newNetwork(n)
		here := startBeats(t, far.connect(t), "here", nil)
		there := startBeats(t, n.Control(), "there", nil)
		defer there.Close()
		if d := here.Silence("nobody"); d != 0 {
			t.Errorf("before the first own beat came back: silent for %v", d)
		}
		time.Sleep(5 * time.Second)
		if d := here.Silence("nobody"); d < 4*time.Second {
			t.Errorf("silent for %v after 5 s", d)
		}
		far.cut()
		for i := range 40 {
			time.Sleep(500 * time.Millisecond)
			if d := here.Silence("there"); d >= 2*time.Second {
				t.Fatalf("there counts as silent for %v, but it is here that hears nothing", d)
			}
			if d := here.Hearing(); i > 3 && d != 0 {
				t.Fatalf("the bus has been heard for %v over a cut connection", d)
			}
		}
		far.heal()
		for here.Hearing() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if d := here.Hearing(); d > time.Second {
			t.Errorf("the hole is not seen: hearing for %v", d)
		}
		if d := here.Silence("nobody"); d > time.Second {
			t.Errorf("just back: silent for %v", d)
		}
		time.Sleep(2 * time.Second)
		if a, b := here.Silence("there"), here.Silence("nobody"); a > 600*time.Millisecond || b < 1500*time.Millisecond {
			t.Errorf("2 s later: there is silent for %v, nobody for %v", a, b)
		}
		here.Close()
	})
}

func TestBadBeatsAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		log := &lines{}
		a := startBeats(t, n.Control(), "a", log)
		defer a.Close()
		for range 3 {
			for _, wire := range []string{
				`{`, `{}`, `{"v":1}`, `{"v":1,"name":"` + strings.Repeat("x", 300) + `"}`,
				`{"v":2,"name":"newer","run":"x","n":1}`, `{"v":1,"name":"a","run":"other","n":1}`,
				`{"v":1,"name":"b","run":"x","n":1,"later":true}`,
			} {
				must(t, n.Control().Notify("ctl.beat", []byte(wire)))
			}
		}
		time.Sleep(time.Second)
		if names(a) != "a b" {
			t.Errorf("heard %q", names(a))
		}
		for _, word := range []string{"can't be read", "newer release", "this one's name"} {
			if c := log.count(word); c != 1 {
				t.Errorf("%q stands in the log %d times, want once", word, c)
			}
		}
	})
}

func TestBeatsNeedAName(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		_, err := bus.StartBeats(t.Context(), n.Control(), bus.BeatsConfig{})
		wantErr(t, err, bus.ErrInvalid)
	})
}

func TestLongBeatIsLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		log := &lines{}
		b, err := bus.StartBeats(t.Context(), n.Control(), bus.BeatsConfig{Name: "a", Logger: slog.New(slog.NewTextHandler(log, nil)),
			Payload: func() []byte { return make([]byte, bus.MaxBeatBytes+1) }})
		must(t, err)
		defer b.Close()
		time.Sleep(3 * time.Second)
		if p := b.Peers(); len(p) != 1 || len(p[0].Data) != 0 || log.count("too long") != 1 {
			t.Errorf("%d peers, %d lines in the log", len(p), log.count("too long"))
		}
	})
}
