package gateway

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

const (
	// healthWindow is how far a feed's health score looks back.
	healthWindow = 10 * time.Second
	// healthStep is the longest step of media time that counts as media: what is longer is a
	// hole or another anchor.
	healthStep = time.Second
	// healthAhead bounds the media that a feed may have brought ahead of time, so that a burst
	// does not hide a long silence: the longest segment that comes in one piece.
	healthAhead = 13 * time.Second
)

// health scores a feed as a player without delay would see it, one that shows a second of media
// each second and waits when there is none: how much of the last ten seconds it had something
// to show, less the share of access units that were left out. What comes in bursts is as good
// as what comes frame by frame. Not safe for concurrent use.
type health struct {
	since   time.Time     // of the last reckoning; zero before the first media
	end     media.Time    // of the newest media
	ahead   time.Duration // media that came and are not due yet
	waited  time.Duration // for which there was nothing to show
	brought time.Duration // media that came, without holes
	past    []healthSample
	arrived bool
	// due is when media are due again: when those will have been shown that came.
	due time.Time
	// low is the least that was ahead since the last look, floor the least within the window: a
	// feed that is never less ahead than that is late by it, and owes media all the time.
	low, floor time.Duration
}

// healthSample is a reckoning; the counts are since the feed opened.
type healthSample struct {
	at           time.Time
	waited, low  time.Duration
	frames, lost uint64
}

// pass lets time go by.
func (h *health) pass(now time.Time) {
	d := now.Sub(h.since)
	if d <= 0 {
		return
	}
	h.since = now
	if d > h.ahead {
		h.waited += d - h.ahead
	}
	h.ahead = max(0, h.ahead-d)
	h.low = min(h.low, h.ahead)
}

// arrive takes how far media reach now.
func (h *health) arrive(end media.Time, now time.Time) {
	if !h.arrived {
		h.arrived, h.since, h.end, h.due = true, now, end, now
		return
	}
	h.pass(now)
	step := end.Sub(h.end)
	h.end = end
	if step > 0 && step <= healthStep {
		h.ahead = min(h.ahead+step, healthAhead)
		h.brought += step
	}
	h.due = now.Add(h.ahead - min(h.low, h.floor))
}

// score is 0 to 100, over the last ten seconds or since the first media. It is called with each
// look, with the access units that were used and that were left out so far.
func (h *health) score(now time.Time, frames, lost uint64) int {
	if !h.arrived {
		return 0
	}
	h.pass(now)
	h.past = append(h.past, healthSample{now, h.waited, h.low, frames, lost})
	for len(h.past) > 1 && now.Sub(h.past[1].at) >= healthWindow {
		h.past = append(h.past[:0], h.past[1:]...)
	}
	h.low, h.floor = h.ahead, h.ahead
	for i := range h.past {
		h.floor = min(h.floor, h.past[i].low)
	}
	first := h.past[0]
	span := now.Sub(first.at)
	if span <= 0 {
		return 100
	}
	score := 1 - float64(h.waited-first.waited)/float64(span)
	if used, left := float64(frames-first.frames), float64(lost-first.lost); left > 0 {
		score *= used / (used + left)
	}
	return int(100*min(1, max(0, score)) + 0.5)
}

// lostUnits counts the access units that were left out because something was wrong with them: here,
// and before they came here. The caller holds s.mu.
func (s *Session) lostUnits(link *live.LinkStats) (n uint64) {
	for cause := range dropCauses {
		if cause != dropEarlySound && cause != dropJoins { // each connect has some
			n += s.cut.seg.dropped[cause]
		}
	}
	if link != nil {
		n += link.Damaged
	}
	return n
}
