package gateway

import (
	"testing"
	"time"

	"klive/infra/media"
)

// feedHealth lets media arrive: at(t) says how far they reach at each 20 ms, and scores once a
// second as beats do.
func feedHealth(length time.Duration, reach func(t time.Duration) time.Duration, lost func(t time.Duration) uint64) []int {
	begin := time.Unix(1_800_000_000, 0)
	var h health
	var scores []int
	var last time.Duration = -1
	for t := time.Duration(0); t <= length; t += 20 * time.Millisecond {
		now := begin.Add(t)
		if r := reach(t); r > last {
			// In steps of a frame, as access units come.
			for ; last < r; last += 20 * time.Millisecond {
				h.arrive(media.At(begin.Add(last+20*time.Millisecond)), now)
			}
		}
		if t%time.Second == 0 {
			scores = append(scores, h.score(now, uint64(t/(20*time.Millisecond)), lost(t)))
		}
	}
	return scores
}

func none(time.Duration) uint64 { return 0 }

func TestHealthScore(t *testing.T) {
	steady := func(t time.Duration) time.Duration { return t }
	for name, c := range map[string]struct {
		reach     func(time.Duration) time.Duration
		lost      func(time.Duration) uint64
		low, high int // of the score at 30 s
	}{
		"steady":                            {steady, none, 99, 100},
		"segments of 6 seconds":             {func(t time.Duration) time.Duration { return t.Truncate(6*time.Second) + 6*time.Second }, none, 99, 100},
		"jitter":                            {func(t time.Duration) time.Duration { return t.Truncate(400 * time.Millisecond) }, none, 99, 100},
		"four fifths of the speed":          {func(t time.Duration) time.Duration { return t * 4 / 5 }, none, 78, 82},
		"silent for the last three seconds": {func(t time.Duration) time.Duration { return min(t, 27*time.Second) }, none, 68, 72},
		"silent for twenty seconds":         {func(t time.Duration) time.Duration { return min(t, 10*time.Second) }, none, 0, 0},
		"a fifth is damaged":                {steady, func(t time.Duration) uint64 { return uint64(t / (80 * time.Millisecond)) }, 79, 81},
		"well again for 15 seconds": {func(t time.Duration) time.Duration {
			if t > 5*time.Second && t < 15*time.Second {
				return 5 * time.Second
			}
			return t
		}, none, 99, 100},
	} {
		t.Run(name, func(t *testing.T) {
			scores := feedHealth(30*time.Second, c.reach, c.lost)
			if last := scores[len(scores)-1]; last < c.low || last > c.high {
				t.Errorf("the score is %d, want %d to %d; each second: %v", last, c.low, c.high, scores)
			}
		})
	}
}

// TestHealthBeforeMedia: a feed that has brought nothing is not well, and one that jumps in time
// is not better for it.
func TestHealthBeforeMedia(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	var h health
	if got := h.score(begin, 0, 0); got != 0 {
		t.Errorf("without media the score is %d", got)
	}
	h.arrive(media.At(begin), begin)
	h.arrive(media.At(begin.Add(time.Hour)), begin.Add(20*time.Millisecond))
	h.score(begin.Add(time.Second), 2, 0)
	if got := h.score(begin.Add(11*time.Second), 2, 0); got != 0 {
		t.Errorf("after a jump and ten seconds of silence the score is %d", got)
	}
}

// TestHealthDue holds when media are due again, by how a feed has brought them so far.
func TestHealthDue(t *testing.T) {
	pieces := func(length time.Duration) func(time.Duration) time.Duration {
		return func(t time.Duration) time.Duration { return min(t, time.Minute-1).Truncate(length) + length }
	}
	for name, c := range map[string]struct {
		reach  func(time.Duration) time.Duration // until a minute
		settle time.Duration                     // until how it goes is known
		most   time.Duration                     // of silence in between
		end    time.Duration                     // when media are due after the last minute
	}{
		"frame by frame":       {func(t time.Duration) time.Duration { return min(t, time.Minute) }, 0, 20 * time.Millisecond, time.Minute},
		"segments of 2 s":      {pieces(2 * time.Second), 0, 0, time.Minute},
		"segments of 6 s":      {pieces(6 * time.Second), 0, 0, time.Minute},
		"segments of 12 s":     {pieces(12 * time.Second), 0, 0, time.Minute},
		"longer than any":      {pieces(20 * time.Second), 20 * time.Second, 7 * time.Second, 53 * time.Second},
		"late by 5 s":          {func(t time.Duration) time.Duration { return min(t, time.Minute) + 5*time.Second }, 12 * time.Second, 20 * time.Millisecond, time.Minute},
		"late by 5 s, of 6 s":  {func(t time.Duration) time.Duration { return pieces(6*time.Second)(t) + 5*time.Second }, 12 * time.Second, 20 * time.Millisecond, time.Minute},
		"a minute in one rush": {func(time.Duration) time.Duration { return time.Minute }, 0, 47 * time.Second, 13 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Unix(1_800_000_000, 0)
			var h health
			last := -20 * time.Millisecond
			for at := time.Duration(0); at <= time.Minute; at += 20 * time.Millisecond {
				now := begin.Add(at)
				if silence := now.Sub(h.due); at >= c.settle && at > 0 && silence > c.most {
					t.Fatalf("at %v it is silent for %v", at, silence)
				}
				for r := c.reach(at); last < r; last += 20 * time.Millisecond {
					h.arrive(media.At(begin.Add(last+20*time.Millisecond)), now)
				}
				if at%time.Second == 0 {
					h.score(now, 0, 0)
				}
			}
			if off := h.due.Sub(begin.Add(c.end)).Abs(); off > 40*time.Millisecond {
				t.Errorf("media are due at %v, want %v", h.due.Sub(begin), c.end)
			}
		})
	}
}
