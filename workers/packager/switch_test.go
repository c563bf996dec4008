package packager

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/timeline"
)

// switches returns the numbers of the items that come from another index than the one before.
func switches(items []timeline.Item) []int {
	var at []int
	for i := 1; i < len(items); i++ {
		if items[i].Media[0].Feed.Index != items[i-1].Media[0].Feed.Index {
			at = append(at, i)
		}
	}
	return at
}

// holes returns the longest time between two items and the longest by which one begins
// before the end of the one before.
func holes(items []timeline.Item) (hole, overlap time.Duration) {
	for i := 1; i < len(items); i++ {
		d := items[i].Start.Sub(items[i-1].End())
		hole, overlap = max(hole, d), max(overlap, -d)
	}
	return hole, overlap
}

// TestFailoverWithinSegment pulls a primary whose backup cuts its segments elsewhere: the
// backup is entered at its next keyframe, not at its next segment.
func TestFailoverWithinSegment(t *testing.T) {
	for name, cut := range map[string]bool{"closed": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				result, end := g.start()
				defer end()
				p := publish{ladder: pass(32), rate: 30, video: small(t), audio: aac(t), segment: 4 * time.Second, gop: time.Second, start: media.At(time.Now())}
				backup := p
				backup.feed, backup.duration, backup.start = feedOf(live.Backup, 1, 2), 38*time.Second, p.start.Add(2630*time.Millisecond)
				p.feed, p.duration, p.cut = feedOf(live.Primary, 1, 1), 14300*time.Millisecond, cut
				var wg sync.WaitGroup
				wg.Go(func() { time.Sleep(2630 * time.Millisecond); g.on(backup) })
				wg.Go(func() { g.on(p) })
				stall := g.watch(36 * time.Second)
				wg.Wait()
				if stall > 2*time.Second {
					t.Errorf("the live edge stands still for %v", stall)
				}
				b := ended(t, g, result)
				items := g.items(b)
				at := switches(items)
				if len(at) != 1 || !items[at[0]].Discontinuity {
					t.Fatalf("switches at %v", at)
				}
				// The primary's last part, and what it would have held, is lost when it is cut.
				lost := items[at[0]].Start.Sub(p.start.Add(p.duration))
				if hole, overlap := holes(items); hole > 1400*time.Millisecond || overlap > rounding || lost > time.Second {
					t.Errorf("a hole of %v, an overlap of %v, %v behind the pull", hole, overlap, lost)
				}
				first := items[at[0]]
				v, a := first.Of(entry+"_32"), first.Of(entry+"_a1")
				if v.From != v.Start || v.From == 0 || a.From != v.From || a.Start < v.Start || v.LastPart <= v.FirstPart {
					t.Errorf("the backup's first item: %+v, %+v", v, a)
				}
				g.samples(b, entry+"_32")
				names := map[string]bool{}
				for _, it := range items {
					if names[it.Media[0].Name] {
						t.Errorf("two items are named %s", it.Media[0].Name)
					}
					names[it.Media[0].Name] = true
				}
				g.sameWhenRebuilt(b)
			})
		})
	}
}

// TestSwitchNamesItsReason: an encoder that is connected and silent has not ended, which who looks for it should know.
func TestSwitchNamesItsReason(t *testing.T) {
	for reason, cut := range map[string]bool{"its feeds have ended": false, "the primary sends nothing": true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			g := newRig(t)
			g.logs = &log // the packager's goroutine alone writes to it
			result, end := g.start()
			p := publish{ladder: pass(32), rate: 30, video: small(t), audio: aac(t), gop: time.Second, start: media.At(time.Now())}
			backup := p
			backup.feed, backup.duration = feedOf(live.Backup, 1, 2), 30*time.Second
			p.feed, p.duration, p.cut = feedOf(live.Primary, 1, 1), 14*time.Second, cut
			var wg sync.WaitGroup
			wg.Go(func() { g.on(backup) })
			wg.Go(func() { g.on(p) })
			wg.Wait()
			ended(t, g, result)
			end()
			if text := log.String(); strings.Count(text, "switching between") != 1 || !strings.Contains(text, reason) {
				t.Errorf("want %q:\n%s", reason, text)
			}
		})
	}
}

// TestReturnWithinSegment holds that the return to an unaligned primary loses no more than
// its patience allows.
func TestReturnWithinSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: small(t), audio: aac(t), segment: 4 * time.Second, gop: time.Second, start: media.At(time.Now())}
		backup := p
		backup.feed, backup.duration = feedOf(live.Backup, 1, 2), 70*time.Second
		p.feed, p.duration = feedOf(live.Primary, 1, 1), 10*time.Second
		again := p
		again.feed.Epoch, again.duration, again.start = 3, 50*time.Second, p.start.Add(20350*time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { g.on(backup) })
		g.on(p)
		time.Sleep(time.Until(again.start.Std()))
		g.on(again)
		wg.Wait()
		items := g.items(ended(t, g, result))
		at := switches(items)
		if len(at) < 2 || items[at[1]].Media[0].Feed.Index != live.Primary || !items[at[1]].Discontinuity {
			t.Fatalf("switches at %v", at)
		}
		if hole, overlap := holes(items[:at[1]+1]); hole > alignment || overlap > rounding {
			t.Errorf("a hole of %v, an overlap of %v", hole, overlap)
		}
		if d := items[at[1]].Start.Sub(again.start); d < 5*time.Second || d > 18*time.Second {
			t.Errorf("back after %v of health", d)
		}
	})
}

// TestBackupOfOneGOP holds the worst case: no keyframe but at the segments' starts.
func TestBackupOfOneGOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: small(t), segment: 4 * time.Second, start: media.At(time.Now())}
		backup := p
		backup.feed, backup.duration, backup.start = feedOf(live.Backup, 1, 2), 38*time.Second, p.start.Add(2*time.Second)
		p.feed, p.duration = feedOf(live.Primary, 1, 1), 14*time.Second
		var wg sync.WaitGroup
		wg.Go(func() { time.Sleep(2 * time.Second); g.on(backup) })
		g.on(p)
		wg.Wait()
		items := g.items(ended(t, g, result))
		if hole, overlap := holes(items); hole > 4*time.Second || overlap > rounding || len(switches(items)) != 1 {
			t.Errorf("a hole of %v, an overlap of %v, switches at %v", hole, overlap, switches(items))
		}
	})
}
