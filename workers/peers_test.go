package workers

import (
	"testing"
	"time"

	"klive/infra/bus"
)

// TestGone holds when a holder of a lease may be robbed, by its last beat and its last renewal.
func TestGone(t *testing.T) {
	const limit = 2 * time.Second
	for _, c := range []struct {
		name               string
		unheard, unrenewed time.Duration
		gone               bool
	}{
		{"alive", 500 * time.Millisecond, time.Second, false},
		{"between two renewals", 500 * time.Millisecond, 3 * time.Second, false},
		{"killed right after a renewal", limit, limit, true},
		{"killed before a renewal", limit, limit + bus.MostRenewWait, true},
		{"killed after a beat and a renewal behind it", limit + 500*time.Millisecond, limit, true},
		{"a beat was lost", limit - 1, limit, false},
		{"renewed a moment ago, and not heard", limit, 0, false},
		{"not heard for long, between two renewals", time.Minute, bus.MostRenewWait + limit - 1, false},
		{"not heard for long, and then killed", time.Minute, bus.MostRenewWait + limit, true},
	} {
		if got := gone(c.unheard, c.unrenewed, limit); got != c.gone {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
