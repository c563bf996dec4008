package gateway

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

const (
	// meterWindow is how many looks, one a second, the measured rates reach back.
	meterWindow = 5
	// meterMost is the same between pieces that come ahead of time: the longest, and a look.
	meterMost = int(healthAhead/live.FeedLook) + 1
	// meterLate is how long the next piece may be overdue.
	meterLate = live.FeedBeat
)

// meter measures a feed as it comes in. Not safe for concurrent use.
type meter struct {
	stats  live.FeedStats
	frames uint64 // of video
	// The frame rate is counted by the source's own clock: frames arrive in bursts. ticks is
	// how far that clock has come, last its reading at the newest picture.
	clock SourceClock
	last  uint64
	ticks int64
	// past holds the totals at the last looks, oldest first.
	past []meterSample
}

type meterSample struct {
	at            time.Time
	bytes, frames uint64
	ticks         int64
	brought       time.Duration
}

// track notes the parameters of a track.
func (m *meter) track(t media.Track) {
	switch p := t.Params.(type) {
	case media.VideoParams:
		m.stats.Video = p.Codec()
		m.stats.Width, m.stats.Height = p.Size()
	case media.AudioParams:
		m.stats.Audio = p.Codec()
	}
}

// add counts one access unit.
func (m *meter) add(kind media.Kind, au *AccessUnit) {
	m.stats.Bytes += uint64(len(au.Payload))
	m.stats.Frames++
	if kind != media.Video {
		return
	}
	m.frames++
	unused := 64 - m.clock.Bits
	step := int64((au.Time-m.last)<<unused) >> unused // signed, across the wrap
	if jump := media.ToTicks(MaxJump, m.clock.Rate); m.frames > 1 && step > -jump && step < jump {
		m.ticks += step
	}
	m.last = au.Time
}

// beat takes a sample and returns the rates over the last seconds, of a feed that has brought so much
// media in all, and more of which are due at a time. Between pieces the rates are those of the last one.
func (m *meter) beat(now time.Time, brought time.Duration, due time.Time) live.FeedStats {
	m.past = append(m.past, meterSample{now, m.stats.Bytes, m.frames, m.ticks, brought})
	if len(m.past) > meterMost+1 {
		m.past = append(m.past[:0], m.past[1:]...)
	}
	s := m.stats
	at := max(0, len(m.past)-1-meterWindow)
	for ; at > 0 && m.past[at].bytes == s.Bytes && now.Sub(due) < meterLate; at-- {
	}
	first := m.past[at]
	// What came ahead of time is not to be divided by less than it plays.
	if d := max(now.Sub(first.at), brought-first.brought).Seconds(); d > 0 {
		s.Bitrate = int64(float64(s.Bytes-first.bytes) * 8 / d)
	}
	if d := m.ticks - first.ticks; d > 0 {
		s.FrameRate = float64(m.frames-first.frames) * float64(m.clock.Rate) / float64(d)
	}
	return s
}
