package publisher

import (
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/media/ts"
)

// TestWHIPClock: a pattern goes on for longer than the clock of a transport stream takes to come round, and longer
// than half of that, from where a time looks like one before the beginning.
func TestWHIPClock(t *testing.T) {
	const mask = 1<<ts.Bits - 1
	var c whipClock
	start := uint64(mask - 5*ts.Rate) // it wraps after five seconds
	if at := c.at(start); at != 0 {
		t.Errorf("it begins at %v", at)
	}
	if at := c.at((start - ts.Rate/10) & mask); at != 0 {
		t.Errorf("what lies before the beginning is at %v", at)
	}
	for at := time.Duration(0); at < 60*time.Hour; at += 10 * time.Minute {
		wrapped := (start + uint64(media.ToTicks(at, ts.Rate))) & mask
		if got := c.at(wrapped); got != at {
			t.Fatalf("%v is taken for %v", at, got)
		}
	}
}
