package gateway

import (
	"math"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
)

// wireMs is a time as an RTMP encoder writes it.
func wireMs(seconds float64) uint64 { return uint64(math.Floor(seconds*1000)) & 0xffffffff }

// TestSyncOverHours runs 29.97 fps with B-frames and 44.1 kHz over ten virtual hours: the
// distance of sound and picture must stay what it is at the source, also while the source's
// audio clock drifts by 100 ppm.
func TestSyncOverHours(t *testing.T) {
	check.Calculation(t)
	length := 10 * time.Hour
	if testing.Short() {
		length = 20 * time.Minute
	}
	for _, tt := range []struct {
		name  string
		drift float64
	}{{"steady", 0}, {"100 ppm fast", 100e-6}, {"100 ppm slow", -100e-6}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			offset, corrected := measureSync(t, length, tt.drift)
			t.Logf("worst offset %v, %d of the joins corrected by a sample", offset, corrected)
			if offset > time.Millisecond {
				t.Errorf("sound is off by %v", offset)
			}
			if tt.drift == 0 && corrected > 0 {
				t.Errorf("%d joins are off by a sample although nothing drifts", corrected)
			}
		})
	}
}

func measureSync(t *testing.T, length time.Duration, drift float64) (worst time.Duration, corrected int) {
	const fps, rate = 30000.0 / 1001, 44100.0
	var last media.Time
	var b *bench
	b = newBench(t, func(c *cutterConfig) {
		c.emit = func(p *live.Part) {
			for i := range p.Frames {
				f := &p.Frames[i]
				if f.Track == media.VideoTrack {
					continue
				}
				n := float64(frameIndex(f)) * 1024 / rate * (1 + drift)
				// The encoder rounds down, by half a millisecond on the average.
				off := f.PTS.Sub(b.epoch) - time.Duration(n*1e9) + 500*time.Microsecond
				worst = max(worst, off.Abs())
				if samples := f.PTS.Ticks(44100) - last.Ticks(44100); last != 0 && samples != 1024 {
					if corrected++; samples < 1023 || samples > 1025 {
						t.Fatalf("frame %d lies %d samples after the one before it", frameIndex(f), samples)
					}
				}
				last = f.PTS
			}
		}
	})
	b.tracks(testH264(""), testAAC(44100))
	video, audio := 0, 0
	for {
		v, a := float64(video)/fps, float64(audio)*1024/rate*(1+drift)
		if time.Duration(v*1e9) > length {
			break
		}
		u := unit{sent: time.Duration(min(v, a) * 1e9)}
		if v <= a {
			u.au = AccessUnit{Track: 0, Time: wireMs(v), Offset: int32(wireMs(v+1/fps) - wireMs(v)), Key: video%60 == 0, Payload: payload(0, video)}
			video++
		} else {
			u.au = AccessUnit{Track: 1, Time: wireMs(a), Payload: payload(1, audio)}
			audio++
		}
		b.send(u)
	}
	b.finish()
	return worst, corrected
}

// TestReconnects connects the same encoder again and again: segment names are never used
// twice and media time does not go back behind what was announced, except within the window
// in which clocks count as one.
func TestReconnects(t *testing.T) {
	check.Calculation(t)
	rapid.Check(t, func(t *rapid.T) {
		var clocks []live.ClockRecord
		var lastEnd media.Time
		names := map[string]bool{}
		now := testEpoch
		for epoch := range rapid.IntRange(2, 5).Draw(t, "connects") {
			src := source{fps: 25, gop: 50, audio: 44100, length: time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second}
			if continued := rapid.Bool().Draw(t, "clock goes on"); continued {
				src.start = uint64(now.Sub(testEpoch).Milliseconds()+rapid.Int64Range(-300, 300).Draw(t, "off")) & 0xffffffff
			}
			b := newBench(t, func(c *cutterConfig) { c.feed.Epoch, c.starts = uint64(epoch+1), epoch == 0 })
			b.epoch, b.others, b.lastEnd = now, clocks, lastEnd
			parts := b.tracks(testH264(""), testAAC(44100)).send(src.units()...).finish()
			checkParts(t, parts, testPart)
			for _, seg := range segments(parts) {
				if name := seg[0].Segment.Name(seg[0].Feed); names[name] {
					t.Fatalf("name %s is there twice", name)
				} else {
					names[name] = true
				}
			}
			if start := parts[0].Segment.Start; start < lastEnd.Add(-AlignWindow-time.Second) {
				t.Errorf("connect %d starts at %d, long before %d", epoch, start, lastEnd)
			}
			record := b.cut.clock.record()
			clocks, lastEnd = append(clocks, record), max(lastEnd, record.LastMedia)
			now = b.now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * time.Second)
		}
	})
}

// BenchmarkCutter measures one second of 29.97 fps and 44.1 kHz.
func BenchmarkCutter(b *testing.B) {
	units := source{fps: 30000.0 / 1001, gop: 60, bframes: 2, audio: 44100, length: 60 * time.Second}.units()
	parts := 0
	cut := newBench(benchTB{b}, func(c *cutterConfig) { c.emit = func(*live.Part) { parts++ } })
	cut.tracks(testH264(""), testAAC(44100))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	round, frames := uint64(0), 0
	for b.Loop() {
		for i := range units {
			u := units[i]
			u.au.Time += round * 60_000
			u.sent += time.Duration(round) * 60 * time.Second
			if err := cut.cut.write(&u.au, cut.epoch.Add(u.sent)); err != nil {
				b.Fatal(err)
			}
			frames++
		}
		round++
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(frames), "allocs/frame")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(max(parts, 1)), "allocs/part")
}

// benchTB lets a benchmark be a tb.
type benchTB struct{ *testing.B }
