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
