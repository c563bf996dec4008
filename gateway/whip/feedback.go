package whip

import (
	"time"

	"github.com/pion/rtcp"

	"klive/infra/media"
)

// pressing is the time between two requests for a keyframe without which nothing can be shown.
const pressing = 400 * time.Millisecond

// keepKeyframes asks for a keyframe when the last one is old, and again when one is pressing.
// Layers get theirs together, so that their segments begin together.
func (s *session) keepKeyframes(now time.Time) {
	var kept []*track
	due := false
	for _, t := range s.trackList() {
		if t.id != media.VideoTrack {
			continue
		}
		urgent, regular := false, true
		if t.layer != nil {
			urgent, regular = s.layers.needs(t.layer, now)
		}
		asked := now.Sub(time.Unix(0, t.wanted.Load()))
		if urgent && regular && asked >= pressing {
			due = true
		} else if (urgent || t.broken.Load()) && asked >= pressing {
			s.wantKeyframe(t)
		}
		if regular {
			kept = append(kept, t)
			last := time.Unix(0, t.keyframe.Load())
			due = due || now.Sub(last) >= s.server.cfg.Keyframe && asked >= s.server.cfg.Keyframe
		}
	}
	if due {
		s.wantKeyframe(kept...)
	}
}

// wantKeyframe asks the encoder for a keyframe of each track, unless it has just been asked.
func (s *session) wantKeyframe(list ...*track) {
	now := time.Now()
	var ask []rtcp.Packet
	for _, t := range list {
		if t.id != media.VideoTrack || now.Sub(time.Unix(0, t.wanted.Load())) < pressing/2 {
			continue
		}
		t.wanted.Store(now.UnixNano())
		t.plis.Add(1)
		ask = append(ask, &rtcp.PictureLossIndication{MediaSSRC: t.ssrc})
	}
	if len(ask) == 0 {
		return
	}
	s.server.metrics.plis.Add(float64(len(ask)))
	_ = s.pc.WriteRTCP(ask)
}

// nack asks for packets again.
func (s *session) nack(t *track, list []uint16) {
	t.nacks.Add(uint64(len(list)))
	s.server.metrics.nacks.Add(float64(len(list)))
	_ = s.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: t.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(list)}})
}
