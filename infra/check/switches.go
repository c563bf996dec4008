package check

import "time"

// longestWait is the longest time between two items' first listings.
func longestWait(items []Item) (longest time.Duration) {
	for i := 1; i < len(items); i++ {
		longest = max(longest, items[i].FirstListed.Sub(items[i-1].FirstListed))
	}
	return longest
}

// closestDiscontinuities is the shortest time between the first listings of two items that
// begin with a discontinuity; a day when there are fewer than two.
func closestDiscontinuities(items []Item) time.Duration {
	closest := 24 * time.Hour
	var last time.Time
	for _, it := range items {
		if !it.Discontinuity {
			continue
		}
		if !last.IsZero() {
			closest = min(closest, it.FirstListed.Sub(last))
		}
		last = it.FirstListed
	}
	return closest
}

// holes are the longest media time that is missing between two items, and the longest that is
// there twice. What PROGRAM-DATE-TIME rounds is neither.
func holes(items []Item) (hole, overlap time.Duration) {
	for i := 1; i < len(items); i++ {
		before, it := items[i-1], items[i]
		if before.Time.IsZero() || it.Time.IsZero() {
			continue
		}
		d := it.Time.Sub(before.Time.Add(before.Duration))
		if d.Abs() <= maxTimeSlip {
			continue
		}
		hole, overlap = max(hole, d), max(overlap, -d)
	}
	return hole, overlap
}
