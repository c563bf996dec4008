package gateway

import (
	"fmt"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

// TestKeyframesAreWholeForPlayers publishes pictures without reordering whose first one may stand
// anywhere against the sound that began the clock: the first tick of each segment is one that players
// take well.
func TestKeyframesAreWholeForPlayers(t *testing.T) {
	for name, rate := range map[string]struct {
		frame uint64 // ticks of 90 kHz
		gop   int
	}{"25": {3600, 50}, "29.97": {3003, 60}, "30": {3000, 30}, "50": {1800, 100}, "60": {1500, 120}} {
		for phase := range uint64(9) {
			t.Run(fmt.Sprint(name, " fps, ", phase, " ticks"), func(t *testing.T) {
				var parts []*live.Part
				arrival := testEpoch + media.Time(phase*7_654_321)
				c := newCutter(cutterConfig{clock: TransportClock(), grid: 2 * time.Second, part: testPart, starts: true,
					peers: func(_ bool, decide func([]live.ClockRecord, media.Time) live.ClockRecord) { decide(nil, 0) },
					emit:  func(p *live.Part) { parts = append(parts, p) }})
				for _, track := range []media.Track{testH264(""), testAAC(48000)} {
					if err := c.setTrack(track); err != nil {
						t.Fatal(err)
					}
				}
				const sound, begin = 1920, 1 << 20
				first := begin + 100 + phase // of the pictures
				write := func(au AccessUnit) {
					if err := c.write(&au, arrival); err != nil {
						t.Fatal(err)
					}
				}
				at := uint64(begin)
				for i := range 10 * rate.gop {
					video := first + uint64(i)*rate.frame
					for ; at <= video; at += sound {
						write(AccessUnit{Track: media.FirstAudioTrack, Time: at, Key: true, Payload: []byte{1}})
					}
					write(AccessUnit{Track: media.VideoTrack, Time: video, Key: i%rate.gop == 0, Payload: []byte{1}})
				}
				c.flush()
				segments := 0
				for _, p := range parts {
					if p.Number > 0 {
						continue
					}
					segments++
					if ticks := p.Segment.Start.Ticks(mp4.VideoTimescale); ticks%playerTicks != 0 {
						t.Errorf("segment %d begins at tick %d, %d above a multiple of %d", p.Segment.Number, ticks, ticks%playerTicks, playerTicks)
					}
				}
				if segments < 3 {
					t.Fatalf("%d segments", segments)
				}
				apart := media.FromTicks(int64(first-begin), mp4.VideoTimescale)
				if later := parts[0].Segment.Start.Sub(forPlayers(arrival)) - apart; later < -time.Microsecond || later > 23*time.Microsecond {
					t.Errorf("the pictures are %v later than the sound", later)
				}
			})
		}
	}
}

// TestNudge: whatever the time, the next one is not earlier, near, and one that players take well.
func TestNudge(t *testing.T) {
	for ns := range media.Time(200_000) {
		pts := testEpoch + ns
		by := nudge(pts)
		if ticks := pts.Add(by).Ticks(mp4.VideoTimescale); ticks%playerTicks != 0 || by < 0 || by > 28*time.Microsecond {
			t.Fatalf("%d goes to tick %d, by %v", pts, ticks, by)
		}
	}
}
