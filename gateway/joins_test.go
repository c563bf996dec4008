package gateway

import (
	"slices"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// TestJoins: another bitrate that comes at any time begins with a segment of the first one, which was cut early, and
// from there on both are cut alike.
func TestJoins(t *testing.T) {
	for _, gop := range []int{12, 25, 37, 50, 75} {
		for late := time.Duration(0); late < 6*time.Second; late += 310 * time.Millisecond {
			units := source{fps: 25, gop: gop, length: 24 * time.Second}.units()
			first := newBench(t, nil).tracks(testH264("")).send(units...)
			second := newBench(t, func(c *cutterConfig) { c.joins = true }).tracks(testH264(""))
			second.others = []live.ClockRecord{first.cut.clock.record()}
			second.others[0].LastMedia, second.others[0].LastArrival = first.epoch.Add(late), first.epoch.Add(late)
			second.send(slices.DeleteFunc(slices.Clone(units), func(u unit) bool { return u.sent < late })...)
			starts := func(b *bench) (list []media.Time) {
				for _, s := range segments(b.finish()) {
					list = append(list, s[0].Segment.Start)
				}
				return list
			}
			all, joined := starts(first), starts(second)
			if len(joined) < 3 {
				t.Fatalf("keyframes each %d pictures, %v late: segments at %v, joined at %v", gop, late, all, joined)
			}
			at := slices.Index(all, joined[0])
			if at < 1 || !slices.Equal(all[at:], joined) {
				t.Errorf("keyframes each %d pictures, %v late: segments at %v, joined at %v", gop, late, all, joined)
			}
			if n := second.cut.seg.dropped; n[dropJoins] == 0 || n[dropNoKeyframe] > uint64(2*gop) {
				t.Errorf("keyframes each %d pictures, %v late: %v left out", gop, late, n)
			}
		}
	}
}
