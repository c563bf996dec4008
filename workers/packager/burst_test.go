package packager

import (
	"testing"
	"time"

	"klive/infra/live"
)

// TestBurst: a feed that brings a segment in one piece is silent when the next one is overdue;
// one that sends as it plays is silent at once, whatever it sent at its start.
func TestBurst(t *testing.T) {
	const part, limit = 333 * time.Millisecond, 1500 * time.Millisecond
	begin := time.Unix(1_800_000_000, 0)
	// arrivals of parts, and until when the feed flows after the last one.
	run := func(parts int, every time.Duration) time.Duration {
		f := &feed{heard: true, lastPart: begin, record: live.FeedRecord{}}
		now := begin
		for range parts {
			now = now.Add(every)
			f.burst.add(part, f.lastPart, now)
			f.lastPart = now
		}
		d := time.Duration(0)
		for f.flowing(now.Add(d), limit) && d < time.Minute {
			d += 10 * time.Millisecond
		}
		return d
	}
	for name, c := range map[string]struct {
		parts     int
		every     time.Duration
		low, high time.Duration
	}{
		"as it plays":                   {20, part, limit, limit + 10*time.Millisecond},
		"a segment of 4 s at once":      {12, time.Millisecond, 5 * time.Second, 5600 * time.Millisecond},
		"a segment of 4 s within 2 s":   {12, 166 * time.Millisecond, 3300 * time.Millisecond, 3800 * time.Millisecond},
		"half a minute at once":         {90, time.Millisecond, maxBurst + limit - 10*time.Millisecond, maxBurst + limit + 10*time.Millisecond},
		"a little faster than it plays": {20, 300 * time.Millisecond, limit, limit + 10*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if d := run(c.parts, c.every); d < c.low || d > c.high {
				t.Errorf("silent after %v, want %v to %v", d, c.low, c.high)
			}
		})
	}
	// What came in one piece at the start excuses nothing once media come as they play.
	f := &feed{heard: true, lastPart: begin}
	now := begin
	for _, every := range []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond, part} {
		now = now.Add(every)
		f.burst.add(part, f.lastPart, now)
		f.lastPart = now
	}
	if f.flowing(now.Add(limit), limit) {
		t.Error("a burst at the start excuses a later silence")
	}
	f.burst.until, f.record.Closed = now.Add(5*time.Second), now
	if f.flowing(now.Add(limit), limit) {
		t.Error("a feed that was closed in order still flows")
	}
}
