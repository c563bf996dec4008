package whip

import (
	"bytes"

	"klive/infra/media"
)

// sound takes Opus packets, one in each RTP packet (RFC 7587).
type sound struct {
	t    *track
	told bool
}

func (o *sound) add(p *packet, lost bool) error {
	if lost {
		o.t.leaveOut()
	}
	if len(p.payload) == 0 {
		return nil
	}
	if media.OpusPacketDuration(p.payload) == 0 {
		o.t.s.server.metrics.malformed.Inc()
		return nil
	}
	if !o.told {
		// RTP always announces two channels; a decoder makes two of one.
		if err := o.t.setTrack(&media.Opus{ChannelCount: 2}); err != nil {
			return err
		}
		o.told = true
	}
	return o.t.write(p.time, true, bytes.Clone(p.payload))
}
