package packager

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// TestPinAgain pins a backup that has not been healthy for long and whose keyframes lie beside the
// primary's. Saying it again takes nothing back: the switch comes when it would have come.
func TestPinAgain(t *testing.T) {
	var at []time.Duration
	for _, pins := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			result, end := g.start()
			defer end()
			p := publish{ladder: pass(32), rate: 30, video: small(t), audio: aac(t), segment: 4 * time.Second, gop: 2 * time.Second,
				start: media.At(time.Now()), duration: 60 * time.Second}
			backup := p
			p.feed = feedOf(live.Primary, 1, 1)
			backup.feed, backup.start, backup.duration = feedOf(live.Backup, 1, 2), p.start.Add(11*time.Second), 49*time.Second
			var wg sync.WaitGroup
			wg.Go(func() { g.on(p) })
			wg.Go(func() { time.Sleep(11 * time.Second); g.on(backup) })
			wg.Go(func() {
				time.Sleep(13500 * time.Millisecond)
				for range pins {
					index := live.Backup
					g.p.Pin(&index)
					time.Sleep(300 * time.Millisecond)
				}
			})
			wg.Wait()
			items := g.items(ended(t, g, result))
			if list := switches(items); len(list) == 0 {
				t.Errorf("pinned %d times, nothing came of it", pins)
			} else {
				at = append(at, items[list[0]].Start.Sub(p.start))
			}
		})
	}
	if len(at) == 2 && at[0] != at[1] {
		t.Errorf("pinned once it switches at %v, three times at %v", at[0], at[1])
	}
}
