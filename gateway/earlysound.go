package gateway

import (
	"slices"
	"time"

	"klive/infra/media"
)

const (
	// maxLead is how long before its first picture a broadcast's sound may begin. Encoders
	// with B-frames begin it a picture's delay and their own priming earlier, 25 to 150 ms.
	// It is half of rounding, so that the sound of a segment that lasts as long as the target
	// says, with its last frame, rounds to no more than the target.
	maxLead = 250 * time.Millisecond
	// maxLeadBytes bounds the sound that waits, frameCost counted for each frame.
	maxLeadBytes = 1 << 20
)

// earlySound holds the sound that comes before a broadcast's first picture: all tracks, in
// the order of DTS.
type earlySound struct {
	items []item
	bytes int
}

// hold adds a frame and returns how many are given up: those that no picture behind it can
// take along any more, and the oldest beyond the bound.
func (e *earlySound) hold(it item) (dropped uint64) {
	dropped = e.leave(&it)
	e.items = append(e.items, it)
	e.bytes += it.cost()
	for e.bytes > maxLeadBytes {
		e.bytes -= e.items[0].cost()
		e.items = slices.Delete(e.items, 0, 1)
		dropped++
	}
	return dropped
}

// take empties the hold: what joins the frame, and how many do not.
func (e *earlySound) take(it *item) (joins []item, dropped uint64) {
	dropped = e.leave(it)
	joins = e.items
	*e = earlySound{}
	return joins, dropped
}

// leave gives up what lies too far before the frame.
func (e *earlySound) leave(it *item) (dropped uint64) {
	from := it.frame.PTS.Add(-maxLead)
	n := len(e.items)
	e.items = slices.DeleteFunc(e.items, func(o item) bool {
		gone := o.gen != it.gen || o.frame.PTS < from
		if gone {
			e.bytes -= o.cost()
		}
		return gone
	})
	return uint64(n - len(e.items))
}

// cost is what a waiting frame counts against bounds in bytes.
func (it *item) cost() int { return len(it.frame.Payload) + frameCost }

// lead returns how long before t the frame begins, with its duration: what a segment that
// starts at t is longer by, and 0 when the frame does not begin before t.
func (it *item) lead(t media.Time) time.Duration {
	if it.frame.PTS >= t {
		return 0
	}
	return t.Sub(it.frame.PTS) + it.frame.Duration
}
