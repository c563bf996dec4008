package gateway

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
)

// drawSource draws an encoder's settings.
func drawSource(t *rapid.T) source {
	s := source{
		fps:    rapid.SampledFrom([]float64{24, 25, 30000.0 / 1001, 30, 50, 60}).Draw(t, "fps"),
		audio:  rapid.SampledFrom([]int{44100, 48000}).Draw(t, "audio"),
		length: time.Duration(rapid.IntRange(5, 40).Draw(t, "seconds")) * time.Second,
		drift:  float64(rapid.IntRange(-100, 100).Draw(t, "drift ppm")) * 1e-6,
		rng:    rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
	}
	s.gop = int(s.fps * rapid.SampledFrom([]float64{0.5, 1, 1.9, 2, 3, 4, 5}).Draw(t, "gop"))
	s.bframes = rapid.IntRange(0, 3).Draw(t, "bframes")
	s.rate = rapid.SampledFrom([]uint32{1000, 90000}).Draw(t, "ticks in a second")
	if rapid.Bool().Draw(t, "wraps") {
		s.start = 1<<32 - uint64(rapid.IntRange(1, 40_000).Draw(t, "before the wrap"))
	} else {
		s.start = uint64(rapid.Uint32().Draw(t, "start")) >> 1
	}
	s.audioLag = time.Duration(rapid.IntRange(-900, 900).Draw(t, "audio lag")) * time.Millisecond
	return s
}

// TestAnyStream holds the cutter to what is true of every stream without disturbance.
func TestAnyStream(t *testing.T) {
	check.Calculation(t)
	rapid.Check(t, func(t *rapid.T) {
		src := drawSource(t)
		starts := rapid.Bool().Draw(t, "starts")
		b := newBench(t, func(c *cutterConfig) { c.starts, c.clock = starts, src.clock() })
		b.epoch = testEpoch + media.Time(rapid.Int64Range(0, 4e9).Draw(t, "phase"))
		units := src.units()
		b.tracks(testH264(""), testAAC(src.audio)).send(units...)
		parts := b.finish()
		checkParts(t, parts, testPart)
		checkAllThere(t, b, units)
		checkPartLengths(t, parts)
		checkGrid(t, parts, starts)
	})
}

// TestSoundBeforeTheFirstPicture begins with sound: a broadcast keeps what lies within the
// bound before its first picture, each frame once and in order; another publish keeps none.
func TestSoundBeforeTheFirstPicture(t *testing.T) {
	check.Calculation(t)
	rapid.Check(t, func(t *rapid.T) {
		src := drawSource(t)
		src.audioLag = 0
		src.gop = int(src.fps * rapid.SampledFrom([]float64{0.5, 2, 3.9, 12.2, 30}).Draw(t, "gop"))
		late := time.Duration(rapid.IntRange(0, 900).Draw(t, "late pictures")) * time.Millisecond
		starts := rapid.Bool().Draw(t, "starts")
		b := newBench(t, func(c *cutterConfig) { c.starts, c.clock = starts, src.clock() })
		units := src.units()
		for i := range units {
			if units[i].au.Track == media.VideoTrack {
				units[i].sent += late
				units[i].au.Time = (units[i].au.Time + uint64(media.ToTicks(late, src.clock().Rate))) & 0xffffffff
			}
		}
		slices.SortStableFunc(units, func(a, b unit) int { return int(a.sent - b.sent) })
		b.tracks(testH264(""), testAAC(src.audio)).send(units...)
		parts := b.finish()
		checkParts(t, parts, testPart)
		checkAllThere(t, b, units)
		from := parts[0].Segment.Start
		if starts {
			from = from.Add(-maxLead)
		}
		sound := frames(parts, media.FirstAudioTrack)[0]
		if sound.PTS < from || frameIndex(&sound) > 0 && sound.PTS.Add(-sound.Duration) >= from {
			t.Errorf("the sound begins at %v with frame %d, %v from the first picture", sound.PTS, frameIndex(&sound), sound.PTS.Sub(parts[0].Segment.Start))
		}
	})
}

// checkPartLengths checks that parts last 85 to 100 % of the target, rounding to whole frames
// apart, but for the last of each segment.
func checkPartLengths(t tb, parts []*live.Part) {
	t.Helper()
	for _, seg := range segments(parts) {
		for i, p := range seg {
			if i == len(seg)-1 {
				continue
			}
			from := p.Segment.Start.Add(time.Duration(p.Number) * testPart)
			next := seg[i+1]
			to := p.Segment.Start.Add(time.Duration(next.Number) * testPart)
			for _, id := range []media.TrackID{0, 1} {
				fs := frames([]*live.Part{p}, id)
				if len(fs) == 0 {
					continue
				}
				last := fs[len(fs)-1]
				length := last.DTS.Add(last.Duration).Sub(max(fs[0].DTS, from))
				if frame := last.Duration + 2*time.Millisecond; length > to.Sub(from)+frame || length < to.Sub(from)*85/100-frame {
					t.Errorf("segment %d part %d lasts %v in track %d", p.Segment.Number, p.Number, length, id)
				}
			}
		}
	}
}

// checkGrid checks that cuts fall on the first keyframe at or after a multiple of D.
func checkGrid(t tb, parts []*live.Part, starts bool) {
	t.Helper()
	segs := segments(parts)
	for i := 1; i < len(segs); i++ {
		before, s := segs[i-1][0].Segment, segs[i][0].Segment
		if i == 1 && starts {
			continue
		}
		if !s.Independent {
			t.Errorf("segment %d begins without a keyframe", s.Number)
		}
		if at := boundary(before.Start, 4*time.Second); s.Start < at {
			t.Errorf("segment %d begins at %d, before %d", s.Number, s.Start, at)
		} else {
			for _, f := range frames(segs[i-1][:], media.VideoTrack) {
				if f.Key && f.PTS >= at {
					t.Errorf("segment %d holds a keyframe at %d behind %d", before.Number, f.PTS, at)
				}
			}
		}
	}
}

// TestBitratesAndBackup runs three bitrates and a backup encoder against each other.
func TestBitratesAndBackup(t *testing.T) {
	check.Calculation(t)
	rapid.Check(t, func(t *rapid.T) {
		src := drawSource(t)
		src.audioLag = 0
		var clocks []live.ClockRecord
		var benches []*bench
		for i := range 4 {
			mine := src
			if i == 3 { // the backup has a clock of its own
				mine.start = uint64(rapid.Uint32().Draw(t, "backup start"))
			}
			b := newBench(t, func(c *cutterConfig) {
				c.feed.Suffix, c.feed.Epoch, c.clock = i+1, uint64(i+1), src.clock()
				if i == 3 {
					c.feed.Index = live.Backup
				}
			})
			skew := time.Duration(rapid.IntRange(-200, 200).Draw(t, fmt.Sprint("skew ", i))) * time.Millisecond
			b.epoch = testEpoch.Add(skew)
			if i < 3 {
				b.others = clocks
			}
			b.tracks(testH264(""), testAAC(src.audio)).send(mine.units()...)
			if i == 0 { // as it stood when the first frame had come
				clocks = append(clocks, live.ClockRecord{Offset: b.cut.clock.record().Offset, LastMedia: b.epoch, LastArrival: b.epoch})
			}
			checkParts(t, b.finish(), testPart)
			benches = append(benches, b)
		}
		want := segments(benches[0].parts)
		for _, b := range benches[1:3] {
			got := segments(b.parts)
			if len(got) != len(want) {
				t.Fatalf("%v and %v", describe(benches[0]), describe(b))
			}
			for j := range got {
				if got[j][0].Segment.Start != want[j][0].Segment.Start {
					t.Errorf("segment %d starts at %d and %d", j, want[j][0].Segment.Start, got[j][0].Segment.Start)
				}
			}
		}
		names := map[string]bool{}
		for _, b := range benches {
			for _, seg := range segments(b.parts) {
				if name := seg[0].Segment.Name(seg[0].Feed); names[name] {
					t.Errorf("segment name %s is there twice", name)
				} else {
					names[name] = true
				}
			}
		}
	})
}

// TestAnyDisturbance sends streams with everything wrong at once: what is left must still
// be in order.
func TestAnyDisturbance(t *testing.T) {
	check.Calculation(t)
	rapid.Check(t, func(t *rapid.T) {
		src := drawSource(t)
		src.jitter = time.Duration(rapid.IntRange(0, 25).Draw(t, "jitter")) * time.Millisecond
		units := src.units()
		for range rapid.IntRange(1, 5).Draw(t, "disturbances") {
			at := time.Duration(rapid.IntRange(0, int(src.length/time.Millisecond)).Draw(t, "at")) * time.Millisecond
			long := time.Duration(rapid.IntRange(0, 12_000).Draw(t, "long")) * time.Millisecond
			track := media.TrackID(rapid.SampledFrom([]int{0, 1, 255}).Draw(t, "track"))
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				units = silence(at, at+long, track)(units)
			case 1:
				units = from(at, rapid.Int64Range(-20_000, 20_000).Draw(t, "jump"))(units)
			case 2:
				shift := rapid.Int64Range(-3600_000, 3600_000).Draw(t, "jump of one")
				for i := range units {
					if units[i].sent >= at && units[i].au.Track == track {
						units[i].au.Time = (units[i].au.Time + uint64(shift)) & 0xffffffff
					}
				}
			case 3:
				for i := range units {
					if units[i].sent >= at {
						units[i].sent += long // the network stands still
					}
				}
			}
		}
		b := newBench(t, func(c *cutterConfig) { c.clock = src.clock() }).tracks(testH264(""), testAAC(src.audio)).send(units...)
		parts := b.finish()
		if len(parts) == 0 {
			return
		}
		checkParts(t, parts, testPart)
		seen := map[[2]int]bool{}
		for _, id := range []media.TrackID{0, 1} {
			for _, f := range frames(parts, id) {
				key := [2]int{int(id), frameIndex(&f)}
				if seen[key] {
					t.Fatalf("track %d frame %d is there twice", id, key[1])
				}
				seen[key] = true
			}
		}
		lost := uint64(0)
		for _, n := range b.cut.seg.dropped {
			lost += n
		}
		if uint64(len(seen))+lost != uint64(len(units)) {
			t.Errorf("%d frames sent, %d in parts, %d counted as left out", len(units), len(seen), lost)
		}
	})
}
