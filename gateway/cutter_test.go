package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

const testPart = 333 * time.Millisecond

// describe lists the segments: length in milliseconds, D for discontinuity, I for
// independent, number of tracks.
func describe(b *bench) []string {
	var out []string
	for _, seg := range segments(b.parts) {
		s := seg[0].Segment
		text := fmt.Sprintf("%d", seg[len(seg)-1].End.Sub(s.Start).Round(time.Millisecond).Milliseconds())
		if s.Discontinuity {
			text += "D"
		}
		if s.Independent {
			text += "I"
		}
		out = append(out, fmt.Sprintf("%s/%d", text, len(s.Tracks)))
	}
	return out
}

func TestPlainStreamAudioVideo(t *testing.T) {
	s := source{fps: 30000.0 / 1001, gop: 60, bframes: 2, audio: 44100, length: 60 * time.Second}
	b := newBench(t, nil).tracks(testH264(""), testAAC(44100))
	units := s.units()
	b.send(units...)
	parts := b.finish()
	checkParts(t, parts, testPart)
	checkOutcome(t, b, "2002DI/2 2002I/2"+strings.Repeat(" 4004I/2", 13)+" 3937I/2", nil)
	checkAllThere(t, b, units)
	checkSync(t, b, units, time.Millisecond)
}

// checkAllThere checks that every frame from the first segment's start on is there once, in order.
func checkAllThere(t tb, b *bench, units []unit) {
	t.Helper()
	for _, id := range []media.TrackID{media.VideoTrack, media.FirstAudioTrack} {
		got := frames(b.parts, id)
		want := 0
		for _, u := range units {
			if u.au.Track == id {
				want++
			}
		}
		if len(got) == 0 {
			if want > 0 {
				t.Errorf("track %d: none of %d frames", id, want)
			}
			continue
		}
		first := frameIndex(&got[0])
		if want -= first; len(got) != want {
			t.Errorf("track %d: %d frames of %d", id, len(got), want)
		}
		for i := range got {
			if frameIndex(&got[i]) != first+i {
				t.Fatalf("track %d: frame %d where %d belongs", id, frameIndex(&got[i]), first+i)
			}
			if i > 0 && got[i-1].DTS.Add(got[i-1].Duration) != got[i].DTS {
				t.Fatalf("track %d frame %d: durations don't join", id, i)
			}
		}
	}
}

// checkSync checks audio times against video times: both have to differ from the truth by
// the same.
func checkSync(t tb, b *bench, units []unit, within time.Duration) {
	t.Helper()
	truth := map[[2]int]time.Duration{}
	for _, u := range units {
		truth[[2]int{int(u.au.Track), u.index}] = u.at
	}
	// Milliseconds are rounded down, so on the average times are half of one early.
	var base, worst time.Duration
	video := frames(b.parts, media.VideoTrack)
	for i := range video {
		base += video[i].PTS.Sub(b.epoch) - truth[[2]int{0, frameIndex(&video[i])}]
	}
	base /= time.Duration(len(video))
	audio := frames(b.parts, media.FirstAudioTrack)
	for i := range audio {
		off := audio[i].PTS.Sub(b.epoch) - truth[[2]int{1, frameIndex(&audio[i])}] - base
		if off.Abs() > worst.Abs() {
			worst = off
		}
	}
	t.Logf("video is off by %v on the average, audio by at most %v from that", base, worst)
	if worst.Abs() > within {
		t.Errorf("audio is off by %v", worst)
	}
}

func TestRules(t *testing.T) {
	av := func(s source) source { s.audio = 48000; return s }
	for _, tt := range []struct {
		name   string
		src    source
		want   string        // see describe
		target time.Duration // s
	}{
		{"2 s", av(source{fps: 30, gop: 60, length: 20 * time.Second}), "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 3999I/2", 4},
		{"0.5 s", av(source{fps: 30, gop: 15, length: 20 * time.Second}), "500DI/2 2500I/2 4000I/2 4000I/2 4000I/2 4000I/2 999I/2", 4},
		{"10 s", av(source{fps: 30, gop: 300, length: 50 * time.Second}), "10000DI/2 10000I/2 10000I/2 10000I/2 9999I/2", 12},
		{"30 s", av(source{fps: 30, gop: 900, length: 70 * time.Second}), "12266DI/2 12267/2 5467/2 12266I/2 12267/2 5467/2 9999I/2", 12},
		{"keyframes only", av(source{fps: 25, gop: 1, length: 15 * time.Second}), "520DI/2 2280I/2 4000I/2 4000I/2 4000I/2 200I/2", 4},
		{"slides", source{fps: 0.5, gop: 1, length: 30 * time.Second}, "2000DI/1 2000I/1 4000I/1 4000I/1 4000I/1 4000I/1 4000I/1 4000I/1 2000I/1", 4},
		{"audio only", source{audio: 48000, length: 20 * time.Second}, "2773DI/1 4011I/1 3989I/1 4011I/1 3989I/1 1237I/1", 4},
		{"video only", source{fps: 25, gop: 50, length: 20 * time.Second}, "2000DI/1 2000I/1 4000I/1 4000I/1 4000I/1 4000I/1", 4},
		{"1.9", av(source{fps: 30, gop: 57, length: 30 * time.Second}), "1900DI/2 1900I/2 3800I/2 3800I/2 3800I/2 3800I/2 3800I/2 5700I/2 1499I/2", 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			if tt.src.fps > 0 {
				b.tracks(testH264(""))
			}
			if tt.src.audio > 0 {
				b.tracks(testAAC(tt.src.audio))
			}
			units := tt.src.units()
			checkParts(t, b.send(units...).finish(), testPart)
			checkAllThere(t, b, units)
			checkOutcome(t, b, tt.want, nil)
			if got := b.parts[0].Segment.Target; got != tt.target*time.Second {
				t.Errorf("target %v, want %d s", got, tt.target)
			}
		})
	}
}

func TestJitterDrift(t *testing.T) {
	check.Calculation(t)
	for _, tt := range []struct {
		name   string
		src    source
		within time.Duration
	}{
		{"44.1k", source{fps: 30000.0 / 1001, gop: 60, bframes: 2, audio: 44100}, time.Millisecond},
		{"48k", source{fps: 25, gop: 50, audio: 48000}, time.Millisecond},
		{"drift", source{fps: 25, gop: 50, audio: 48000, aDrift: 100e-6}, time.Millisecond},
		{"jitter", source{fps: 25, gop: 50, audio: 44100, jitter: 20 * time.Millisecond, aDrift: -100e-6}, 25 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.src.length = 10 * time.Minute
			tt.src.rng = rand.New(rand.NewPCG(1, 2))
			b := newBench(t, nil).tracks(testH264(""), testAAC(tt.src.audio))
			units := tt.src.units()
			if tt.src.aDrift != 0 {
				for i := range units {
					if units[i].au.Track != 0 {
						units[i].at = time.Duration(float64(units[i].at) * (1 + tt.src.aDrift))
					}
				}
			}
			checkParts(t, b.send(units...).finish(), testPart)
			checkSync(t, b, units, tt.within)
		})
	}
}
