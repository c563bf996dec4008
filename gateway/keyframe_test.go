package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
)

// A stream whose keyframes stop is ended with the reason; one that has them, or has no pictures,
// is not (row 58).
func TestStreamWithoutKeyframes(t *testing.T) {
	noKeys := func(after time.Duration) change {
		return func(units []unit) []unit {
			for i := range units {
				if units[i].au.Track == 0 && units[i].sent >= after {
					units[i].au.Key = false
				}
			}
			return units
		}
	}
	for _, c := range []struct {
		name   string
		source source
		change change
		ends   time.Duration // 0: it does not
	}{
		{"keyframes stop", source{fps: 25, gop: 50, audio: 48000, length: 90 * time.Second}, noKeys(20 * time.Second), 78 * time.Second},
		{"never one", source{fps: 25, gop: 50, audio: 48000, length: 90 * time.Second}, noKeys(0), 60 * time.Second},
		{"one each half minute", source{fps: 5, gop: 150, audio: 48000, length: 150 * time.Second}, noKeys(time.Hour), 0},
		{"pictures are turned off and on", source{fps: 25, gop: 50, audio: 48000, length: 150 * time.Second}, func(units []unit) []unit {
			return slices.DeleteFunc(units, func(u unit) bool { return u.au.Track == 0 && u.sent > 20*time.Second && u.sent < 110*time.Second })
		}, 0},
		{"sound alone", source{audio: 48000, length: 150 * time.Second}, noKeys(0), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				s := w.publish(w.gateway(), live.Primary, "_1")
				if c.source.fps > 0 {
					if err := s.SetTrack(testH264("")); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.SetTrack(testAAC(48000)); err != nil {
					t.Fatal(err)
				}
				start, ended := time.Now(), time.Duration(0)
				for _, u := range c.change(c.source.units()) {
					time.Sleep(time.Until(start.Add(u.sent)))
					if err := s.Write(u.au); err != nil {
						ended = time.Since(start)
						if reason(err) != ReasonMedia || !strings.Contains(err.Error(), "no keyframe for 1m0s") {
							t.Errorf("it ends with %v", err)
						}
						break
					}
				}
				if (ended - c.ends).Abs() > 2*time.Second {
					t.Errorf("it ended after %v, want %v", ended, c.ends)
				}
				s.Close(nil)
			})
		})
	}
}

// One connection may publish all bitrates of its entry: the permit is for the entry (row 29).
func TestBitratesOnOneConnection(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
		if err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"_1", "_2", "_3"} {
			if _, err := g.Publish(w.t.Context(), p, testPublish(suffix)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(g.Sessions()); n != 3 {
			t.Errorf("%d streams are on the air", n)
		}
		if got := strings.Join(w.api.calls, ", "); strings.Count(got, "authenticate") != 1 || strings.Count(got, "ladder") != 3 {
			t.Errorf("calls: %s", got)
		}
	})
}
