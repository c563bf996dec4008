package live

import (
	"testing"
	"time"

	"klive/infra/media"
)

// TestFeedRecordTells holds which records say something that can't wait for the next beat.
func TestFeedRecordTells(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	score := func(n int) *int { return &n }
	record := func(change func(*FeedRecord)) *FeedRecord {
		r := &FeedRecord{Beat: now, Stats: FeedStats{Video: "H264", Width: 640, Height: 360, Bitrate: 300_000, Health: score(100)}}
		r.Clock.LastArrival = media.At(now.Add(-100 * time.Millisecond))
		if change != nil {
			change(r)
		}
		return r
	}
	quiet := func(r *FeedRecord) { r.Clock.LastArrival = media.At(now.Add(-FeedLook)) }
	for name, c := range map[string]struct {
		before, after func(*FeedRecord)
		tells         bool
	}{
		"as before":            {nil, nil, false},
		"a little later":       {nil, func(r *FeedRecord) { r.Beat = now.Add(FeedLook / 2); r.Stats.Bitrate++ }, false},
		"the same score":       {nil, func(r *FeedRecord) { r.Stats.Health = score(100) }, false},
		"media come no more":   {nil, quiet, true},
		"media come again":     {quiet, nil, true},
		"still nothing":        {quiet, func(r *FeedRecord) { quiet(r); r.Beat = now.Add(FeedLook) }, false},
		"nothing came ever":    {func(r *FeedRecord) { r.Clock.LastArrival = 0 }, quiet, false},
		"another score":        {nil, func(r *FeedRecord) { r.Stats.Health = score(99) }, true},
		"a score at last":      {func(r *FeedRecord) { r.Stats.Health = nil }, nil, true},
		"another codec":        {nil, func(r *FeedRecord) { r.Stats.Video = "H265" }, true},
		"sound":                {nil, func(r *FeedRecord) { r.Stats.Audio = "AAC" }, true},
		"a larger picture":     {nil, func(r *FeedRecord) { r.Stats.Width = 1280 }, true},
		"the first of a feed":  {func(r *FeedRecord) { *r = FeedRecord{} }, nil, true},
		"a feed without media": {func(r *FeedRecord) { *r = FeedRecord{} }, func(r *FeedRecord) { *r = FeedRecord{Beat: now} }, false},
	} {
		if got := record(c.after).Tells(record(c.before)); got != c.tells {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestFeedRecordRecent holds for how long a feed may come back, which begins when it has gone.
func TestFeedRecordRecent(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		beat, closed time.Duration // before now; 0: not closed
		within       time.Duration
		recent       bool
	}{
		"on the air, a short time to come back":  {FeedBeat, 0, time.Second, true},
		"its record is late":                     {FeedStale - 1, 0, time.Second, true},
		"its gateway is dead":                    {FeedStale, 0, time.Second, false},
		"its gateway is dead, and it may return": {FeedStale, 0, time.Minute, true},
		"closed a moment ago":                    {FeedBeat, time.Second, time.Second, true},
		"closed for too long":                    {FeedBeat, time.Second + 1, time.Second, false},
	} {
		r := &FeedRecord{Beat: now.Add(-c.beat)}
		if c.closed != 0 {
			r.Closed = now.Add(-c.closed)
		}
		if got := r.Recent(now, c.within); got != c.recent {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestFeedRecordSilence holds that what comes ahead of time is no silence until it was due.
func TestFeedRecordSilence(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		arrival, due time.Duration // before now; 0: none
		want         time.Duration
	}{
		"nothing came yet":           {0, 0, 0},
		"media a second ago":         {time.Second, time.Second, time.Second},
		"a gateway that says no due": {3 * time.Second, 0, 3 * time.Second},
		"nothing is due":             {5 * time.Second, -time.Second, 0},
		"a segment is overdue":       {8 * time.Second, 2 * time.Second, 2 * time.Second},
		"due before it came":         {time.Second, 2 * time.Second, time.Second},
	} {
		r := &FeedRecord{Beat: now}
		if c.arrival != 0 {
			r.Clock.LastArrival = media.At(now.Add(-c.arrival))
		}
		if c.due != 0 {
			r.Due = now.Add(-c.due)
		}
		if got := r.Silence(now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
