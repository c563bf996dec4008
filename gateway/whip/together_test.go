package whip

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// event is something that reaches the lines of a session: a picture of a layer, or a report.
type event struct {
	at     time.Duration // when it arrives
	layer  int
	number int // of the picture
	report *rtcp.SenderReport
}

// senders is a publisher of layers of 30 pictures a second, and what becomes of them on the way.
type senders struct {
	layers  int
	begins  []time.Duration                                 // of each layer; nil is all at once
	delay   func(layer int, at time.Duration) time.Duration // of each picture
	reports time.Duration                                   // when the first ones are sent; 0 is never
	late    func() time.Duration                            // by which a report's picture had been sent late; nil is never
}

const pictureTime = time.Second / 30

func rtpOf(layer int, at time.Duration) uint32 {
	return uint32(0xfffe0000) + uint32(layer)*123_456_789 + uint32(at*9/100_000)
}

// events are what arrives within a time, in that order.
func (s *senders) events(long time.Duration) (list []event) {
	for layer := range s.layers {
		begins, arrived := time.Duration(0), time.Duration(0)
		if s.begins != nil {
			begins = s.begins[layer]
		}
		for n := 0; time.Duration(n)*pictureTime < long; n++ {
			at := time.Duration(n) * pictureTime
			if at < begins {
				continue
			}
			arrived = max(arrived, at+s.delay(layer, at))
			list = append(list, event{at: arrived, layer: layer, number: n})
		}
		for at := s.reports + time.Duration(layer)*70*time.Millisecond; s.reports > 0 && at < long; at += time.Second {
			late := time.Duration(0)
			if s.late != nil {
				late = s.late()
			}
			if at >= begins {
				list = append(list, event{at: at + s.delay(layer, at), layer: layer, report: &rtcp.SenderReport{NTPTime: ntp(at + late), RTPTime: rtpOf(layer, at)}})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return list
}

// TestLayersLieTogether: whatever delays the layers of a publisher on the way, by up to half a second, the times of one picture are the
// same in all of them, from the first one on that is used.
func TestLayersLieTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 26))
	unlike := func(layer int, _ time.Duration) time.Duration { return time.Duration(layer) * 250 * time.Millisecond }
	stalls := func(layer int, at time.Duration) time.Duration { // half a second, again and again
		return max(0, 500*time.Millisecond-(at+time.Duration(layer)*230*time.Millisecond)%(700*time.Millisecond))
	}
	atFirst := func(layer int, at time.Duration) time.Duration {
		return max(0, time.Duration(layer)*250*time.Millisecond-at/2)
	}
	for _, c := range []struct {
		name   string
		sent   senders
		within time.Duration
		from   time.Duration
	}{
		{name: "one later than the other", sent: senders{layers: 3, delay: unlike, reports: 500 * time.Millisecond}},
		{name: "the first one later than the others", sent: senders{layers: 3, reports: 500 * time.Millisecond,
			delay: func(layer int, at time.Duration) time.Duration { return unlike(2-layer, at) }}},
		{name: "each stands still at other times", sent: senders{layers: 4, delay: stalls, reports: 700 * time.Millisecond}},
		{name: "one joins in", sent: senders{layers: 3, delay: unlike, reports: 900 * time.Millisecond, begins: []time.Duration{0, 2 * time.Second, 9 * time.Second}}},
		{name: "without a report, each stands still at other times", sent: senders{layers: 3, delay: stalls}, within: pictureTime},
		{name: "without a report, on a machine that has just begun", sent: senders{layers: 3, delay: atFirst}, within: pictureTime},
		{name: "late reports, each stands still at other times", sent: senders{layers: 3, delay: stalls, reports: 6 * time.Second}, within: pictureTime},
		{name: "late reports, one later than the other", sent: senders{layers: 3, delay: unlike, reports: 5 * time.Second}, from: 18 * time.Second},
		{name: "reports of a sender that has too much to do", sent: senders{layers: 3, delay: unlike, reports: 500 * time.Millisecond,
			late: func() time.Duration { return time.Duration(random.Int64N(int64(30 * time.Millisecond))) }}, within: pictureTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Unix(5000, 0)
			set := newLines(begin)
			var list []*line
			for range c.sent.layers {
				list = append(list, set.add(90000, false))
			}
			times := map[int][]uint64{} // by picture
			used := make([]int, len(list))
			for _, e := range c.sent.events(20 * time.Second) {
				l, now := list[e.layer], begin.Add(e.at)
				if e.report != nil {
					l.heard(e.report, now)
					continue
				}
				rtp := rtpOf(e.layer, time.Duration(e.number)*pictureTime)
				l.came(rtp, now)
				if !l.ready(now) {
					continue
				}
				used[e.layer]++
				times[e.number] = append(times[e.number], l.at(rtp, now))
			}
			widest, both := time.Duration(0), 0
			for n, all := range times {
				if time.Duration(n)*pictureTime < c.from || len(all) < 2 {
					continue
				}
				both++
				widest = max(widest, time.Duration(slices.Max(all)-slices.Min(all))*time.Second/ticks)
			}
			t.Logf("pictures used of each layer: %v; in several layers: %d, at most %v apart", used, both, widest)
			if both < 50 || slices.Min(used) < 200 {
				t.Errorf("%v pictures are used, %d of them in several layers", used, both)
			}
			if widest > c.within {
				t.Errorf("the layers of a picture are %v apart, want %v at most", widest, c.within)
			}
		})
	}
}

// TestLayersMoveTogether: layers follow the sound together where late reports say that the first one lies wrong.
func TestLayersMoveTogether(t *testing.T) {
	begin := time.Unix(5000, 0)
	set := newLines(begin)
	voice, first, second := set.add(48000, true), set.add(90000, false), set.add(90000, false)
	const late = 200 * time.Millisecond // on the way, pictures alone
	rtpS := func(at time.Duration) uint32 { return uint32(at * 6 / 125_000) }
	for n := range 400 {
		at := time.Duration(n) * 20 * time.Millisecond
		now := begin.Add(at)
		s := voice.at(rtpS(at), now)
		a, b := first.at(rtpOf(0, at), now.Add(late)), second.at(rtpOf(1, at), now.Add(late))
		if a != b {
			t.Fatalf("at %v the layers are %d ticks apart", at, int64(a-b))
		}
		if n == 100 {
			for i, l := range []*line{first, second} {
				l.heard(&rtcp.SenderReport{NTPTime: ntp(at), RTPTime: rtpOf(i, at)}, now)
			}
			voice.heard(&rtcp.SenderReport{NTPTime: ntp(at), RTPTime: rtpS(at)}, now)
		}
		off := time.Duration(int64(a-s)) * time.Second / ticks
		if n == 50 && off != late || n == 399 && off.Abs() > 2*time.Millisecond {
			t.Errorf("at %v pictures lie %v behind the sound", at, off)
		}
	}
}
