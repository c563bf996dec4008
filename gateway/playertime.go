package gateway

import (
	"time"

	"klive/infra/media"
	"klive/infra/media/mp4"
)

// Players take the time of the first segment, seconds since 1970, from that of all segments, in
// floating point and then in microseconds: hls.js sets the offset of Media Source Extensions so. A
// tick of the 90 kHz that video is stored in is 100/9 µs. Of nine ticks in a row two are less than
// 0.25 µs below a whole microsecond, and for those Chromium can have -1 µs come out: it then drops
// the picture as before the beginning, with all that follow up to the next keyframe.
const (
	// playerTicks is what the ticks of a first keyframe are a multiple of, and those of the following
	// ones at all usual rates and intervals: every third is 0, 1/3 or 2/3 µs from a whole one.
	playerTicks = 3
	// playerTime is nine ticks: the shortest time that is whole in both.
	playerTime = 100 * time.Microsecond
)

// forPlayers is the first time from t on where a run of source time may begin.
func forPlayers(t media.Time) media.Time {
	return t.Add((playerTime - time.Duration(t)%playerTime) % playerTime)
}

// nudge is what brings a first keyframe to the next time that players take well: 2.5 ticks, 28 µs, at
// most. Sound and timed data keep their times.
func nudge(pts media.Time) time.Duration {
	ticks := pts.Ticks(mp4.VideoTimescale)
	missing := (playerTicks - ticks%playerTicks) % playerTicks
	if missing == 0 {
		return 0
	}
	return media.TimeFromTicks(ticks+missing, mp4.VideoTimescale).Sub(pts)
}
