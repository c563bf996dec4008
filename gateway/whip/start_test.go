package whip

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/media"
)

// beginner is a session of sound and pictures that has just begun, in virtual time.
type beginner struct {
	t      *testing.T
	s      *session
	pub    *taken
	tracks [2]*track // sound, pictures
	begun  time.Time
}

func newBeginner(t *testing.T) *beginner {
	b := &beginner{t: t, pub: &taken{}, begun: time.Now()}
	b.s = &session{
		server: &Server{metrics: newMetrics(prometheus.NewRegistry())}, pub: b.pub, lines: newLines(b.begun), done: make(chan struct{}),
	}
	b.s.start.waiting.Store(true)
	b.tracks[0] = &track{s: b.s, to: b.s, id: media.FirstAudioTrack, line: b.s.lines.add(48000, true)}
	b.tracks[1] = &track{s: b.s, to: b.s, id: media.VideoTrack, line: b.s.lines.add(90000, false)}
	return b
}

// rtp is a track's own time of an instant.
func (b *beginner) rtp(track int, at time.Duration) uint32 {
	if track == 0 {
		return uint32(at * 6 / 125_000)
	}
	return rtpOf(1, at)
}

// send hands on what was made late ago.
func (b *beginner) send(track int, late time.Duration) {
	b.t.Helper()
	t, rtp := b.tracks[track], b.rtp(track, time.Since(b.begun)-late)
	t.line.came(rtp, time.Now())
	if !t.begun.Load() {
		if err := t.setTrack([]media.Params{&media.Opus{ChannelCount: 2}, paramsOf(b.t, "q")}[track]); err != nil {
			b.t.Error(err)
		}
	}
	if err := t.write(rtp, true, []byte{byte(track)}); err != nil {
		b.t.Error(err)
	}
}

func (b *beginner) report(track int) {
	at := time.Since(b.begun)
	b.tracks[track].line.heard(&rtcp.SenderReport{NTPTime: ntp(at), RTPTime: b.rtp(track, at)}, time.Now())
}

// said is what the publication has got, each run of one track once, and how far pictures lie behind
// the sound that was made at the same time.
func (b *beginner) said(offset time.Duration) string {
	var list []string
	first := map[media.TrackID]uint64{}
	for _, u := range b.pub.units {
		if _, ok := first[u.Track]; !ok {
			first[u.Track] = u.Time
		}
	}
	list = append(list, fmt.Sprintf("%d units", len(b.pub.units)))
	if len(first) == 2 {
		apart := time.Duration(int64(first[media.VideoTrack]-first[media.FirstAudioTrack])) * time.Second / ticks
		list = append(list, fmt.Sprintf("%v off", (apart-offset).Round(time.Millisecond)))
	}
	return strings.Join(list, ", ")
}

// TestStart: sound and pictures of a session wait for their reports, at most half a second, and then have their places.
// Nothing is lost, and each access unit has the time at which it came.
func TestStart(t *testing.T) {
	const late = 300 * time.Millisecond // of pictures on the way
	for _, c := range []struct {
		name    string
		reports time.Duration // 0 is before all
		before  string        // what is on the air 0.3 s after the beginning
		after   string        // and 1.5 s after it
	}{
		{"reports before all else", 0, "32 units, 0s off", "152 units, 0s off"},
		{"reports after 0.4 s", 400 * time.Millisecond, "0 units", "152 units, 0s off"},
		{"reports that are too late", time.Second, "0 units", "152 units, 300ms off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBeginner(t)
				for at := time.Duration(0); at <= 1500*time.Millisecond; at += 20 * time.Millisecond {
					if at == c.reports || c.reports == 0 && at == 0 {
						b.report(0)
						b.report(1)
					}
					b.send(0, 0)
					b.send(1, late)
					if at == 300*time.Millisecond && b.said(-late) != c.before {
						t.Errorf("after %v: %s, want %s", at, b.said(-late), c.before)
					}
					time.Sleep(20 * time.Millisecond)
				}
				if b.said(-late) != c.after {
					t.Errorf("%s, want %s", b.said(-late), c.after)
				}
				for i, u := range b.pub.units {
					if i > 0 && u.Came.Before(b.pub.units[i-1].Came) {
						t.Errorf("unit %d came at %v, the one before it at %v", i, u.Came, b.pub.units[i-1].Came)
					}
				}
				if first := b.pub.units[0].Came; !first.Equal(b.begun) {
					t.Errorf("the first unit came %v after the beginning", first.Sub(b.begun))
				}
			})
		})
	}
}

// TestStartIsBounded: what waits is let go when there is too much of it, when nothing more comes, and when the session ends.
func TestStartIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBeginner(t)
		b.send(0, 0)
		time.Sleep(400 * time.Millisecond)
		if err := b.s.start.expire(b.s.lines, time.Now()); err != nil || len(b.pub.units) != 0 {
			t.Errorf("too early: %d units, %v", len(b.pub.units), err)
		}
		time.Sleep(100 * time.Millisecond)
		if err := b.s.start.expire(b.s.lines, time.Now()); err != nil || len(b.pub.units) != 1 {
			t.Errorf("in time: %d units, %v", len(b.pub.units), err)
		}
		b = newBeginner(t)
		b.send(1, 0)
		for n := 1; len(b.pub.units) == 0 && n < 100; n++ {
			if err := b.tracks[1].write(b.rtp(1, 0), false, make([]byte, maxStart/10)); err != nil {
				t.Error(err)
			}
		}
		if n := len(b.pub.units); n != 11 {
			t.Errorf("%d units, want 11: the bound is reached with the tenth large one", n)
		}
		b = newBeginner(t)
		b.send(1, 0)
		if err := b.s.start.end(b.s.lines); err != nil || len(b.pub.units) != 1 {
			t.Errorf("at the end: %d units, %v", len(b.pub.units), err)
		}
	})
}
