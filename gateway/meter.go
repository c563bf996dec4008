package gateway

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// meterWindow is how many seconds the measured rates look back.
const meterWindow = 5

// meter measures a feed as it comes in. Not safe for concurrent use.
type meter struct {
	stats  live.FeedStats
	frames uint64 // of video, or of audio when there is none
	// past holds the totals at the last beats, oldest first.
	past []meterSample
}

type meterSample struct {
	at            time.Time
	bytes, frames uint64
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
func (m *meter) add(kind media.Kind, bytes int) {
	m.stats.Bytes += uint64(bytes)
	m.stats.Frames++
	if kind == media.Video {
		m.frames++
	}
}

// beat takes a sample and returns the rates over the last seconds.
func (m *meter) beat(now time.Time) live.FeedStats {
	m.past = append(m.past, meterSample{now, m.stats.Bytes, m.frames})
	if len(m.past) > meterWindow+1 {
		m.past = append(m.past[:0], m.past[1:]...)
	}
	s := m.stats
	first := m.past[0]
	if d := now.Sub(first.at).Seconds(); d > 0 {
		s.Bitrate = int64(float64(s.Bytes-first.bytes) * 8 / d)
		s.FrameRate = float64(m.frames-first.frames) / d
	}
	return s
}
