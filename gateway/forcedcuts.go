package gateway

import (
	"log/slog"
	"time"
)

// forcedAgain is how often it is said once more that a feed's keyframes come too seldom.
const forcedAgain = time.Minute

// forcedCuts tells operators that segments had to be cut without a keyframe.
type forcedCuts struct {
	told uint64 // how many had been cut when it was said last
	at   time.Time
}

// report is called with each look; cuts counts since the feed began.
func (f *forcedCuts) report(log *slog.Logger, cuts uint64, longest time.Duration, now time.Time) {
	if cuts == f.told || !f.at.IsZero() && now.Sub(f.at) < forcedAgain {
		return
	}
	log.Warn("the encoder sends keyframes too seldom: segments were cut without one, and players that begin with such a segment see nothing until the next keyframe; set its keyframe interval to 2 s",
		"segments", cuts-f.told, "longest", longest)
	f.told, f.at = cuts, now
}
