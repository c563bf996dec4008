package gateway

import (
	"time"

	"klive/infra/media"
)

const (
	// rounding is what a segment may be longer than the target: EXTINF is compared after
	// rounding to whole seconds (RFC 8216 §4.3.3.1).
	rounding = 499 * time.Millisecond
	// forcedAfter is how far behind the target a segment is cut without a keyframe, and how far behind
	// its end by another track of sound than the first. It leaves what comes late its chance.
	forcedAfter = 250 * time.Millisecond
	// leastForced is the same for a segment whose sound begins before its pictures: the
	// pictures' reordering has to fit into what is left of rounding.
	leastForced = 50 * time.Millisecond
	// minFirst is the least length of the first segment when it is cut early.
	minFirst = 500 * time.Millisecond
	// everyFrame is the keyframe distance below which keyframes don't limit where cuts fall.
	everyFrame = 100 * time.Millisecond
)

// boundary returns the first multiple of d on the media clock that lies after t.
func boundary(t media.Time, d time.Duration) media.Time {
	n := int64(t) / int64(d)
	if int64(t)%int64(d) < 0 {
		n--
	}
	return media.Time((n + 1) * int64(d))
}

// targetDuration is the longest that a segment can get, in whole seconds, when it is cut at
// the first keyframe at or after each multiple of d and keyframes come each gop.
func targetDuration(d, gop time.Duration) time.Duration {
	longest := max(d, gop)
	if gop > everyFrame && !divides(gop, d) {
		longest = d + gop
	}
	return min(ceilSecond(longest), MaxTarget)
}

// divides reports whether d is a multiple of gop, when gop was measured with an error of a
// millisecond.
func divides(gop, d time.Duration) bool {
	k := (d + gop/2) / gop
	return k > 0 && (d-k*gop).Abs() <= k*time.Millisecond
}

func ceilSecond(d time.Duration) time.Duration {
	// A keyframe distance that was rounded up by a millisecond is no second more.
	return (d - 2*time.Millisecond + time.Second - 1) / time.Second * time.Second
}
