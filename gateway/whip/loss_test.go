package whip

import (
	"context"
	"testing"
	"time"

	"klive/infra/check/fault"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/publisher"
)

// frames are the pictures of a feed that are on the bus.
func (r *rig) frames(feed live.Feed) []media.Frame {
	r.t.Helper()
	f, err := r.ring.Follow(r.t.Context(), feed.Subject(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	var list []media.Frame
	for {
		ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond)
		m, err := f.Next(ctx)
		cancel()
		if err != nil {
			return list
		}
		for _, frame := range m.Body.(*live.Part).Frames {
			if frame.Track == media.VideoTrack {
				list = append(list, frame)
			}
		}
	}
}

// TestLoss publishes through a network that loses packets, with time for repeats and without:
// no picture is on the bus that depends on one that is not, and a clean one follows each loss.
func TestLoss(t *testing.T) {
	// A machine with too much to do delays repeats by more than a second. Sound would go on meanwhile, and the gateway
	// does not wait for a picture that is so late behind it.
	const patient = 3 * time.Second
	for _, c := range []struct {
		name     string
		latency  time.Duration
		loss     float64
		overtake float64
		whole    bool
	}{
		{"2 % lost, with repeats", patient, 0.02, 0, true},
		{"10 % lost, with repeats", patient, 0.10, 0, true},
		{"out of order", patient, 0, 0.1, true},
		{"2 % lost, too late for repeats", 20 * time.Millisecond, 0.02, 0, false},
		{"10 % lost, with time for a repeat or two", 90 * time.Millisecond, 0.10, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(cfg *Config) { cfg.Latency = c.latency })
			clear := fault.Weather{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond}
			relay := fault.NewDatagramRelay(t, r.whip.Addrs()[0].String(), clear, clear)
			w := r.mustDial(func(cfg *publisher.WHIPConfig) { cfg.Via, cfg.NoAudio = relay.Addr(), c.whole })
			bad := clear
			bad.Loss, bad.Overtake, bad.Late = c.loss, c.overtake, 15*time.Millisecond
			relay.Set(bad, bad)
			feed := r.gw.Sessions()[0].Feed
			err := w.Play(t.Context(), publisher.WHIPPlay{Clip: clip(t, func(s *publisher.Synthetic) { s.Bitrate = 1_500_000 }), Limit: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			relay.Set(clear, clear)
			time.Sleep(c.latency + 200*time.Millisecond) // for what was lost last
			link := r.stats().Link
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
			a := audit(t, r.frames(feed))
			passed, lost := relay.Count()
			t.Logf("%d datagrams came through and %d were lost; %d pictures are there, the longest hole is %d; %+v", passed, lost, a.count, a.hole, *link)
			if c.whole && (a.holes > 0 || a.count < 145) {
				t.Errorf("%d pictures, %d holes", a.count, a.holes)
			}
			if !c.whole && (link.Damaged == 0 || link.Dropped == 0) {
				t.Errorf("%+v: the test lost nothing", *link)
			}
			if c.loss < 0.05 && a.hole > 75 {
				t.Errorf("a hole of %d pictures: no clean one within 2.5 s", a.hole)
			}
		})
	}
}

// audited is what the numbers in pictures say.
type audited struct{ count, holes, hole int }

// audit holds the numbers of a feed's pictures against each other: behind a hole stands a
// keyframe.
func audit(t *testing.T, list []media.Frame) (a audited) {
	t.Helper()
	last := -1
	for _, f := range list {
		n, ok := publisher.ReadMarkH264(f.Payload)
		if !ok {
			t.Fatal("a picture without a number")
		}
		a.count++
		switch hole := int(n) - last - 1; {
		case last < 0 && !f.Key, hole < 0:
			t.Errorf("picture %d follows %d", n, last)
		case last >= 0 && hole > 0:
			a.holes++
			a.hole = max(a.hole, hole)
			if !f.Key {
				t.Errorf("picture %d depends on one that is missing: it follows %d and is no keyframe", n, last)
			}
		}
		last = int(n)
	}
	return a
}
