package publisher

import (
	"context"
	"time"

	"klive/infra/media"
)

// opusSilence is 20 ms of silence in stereo (RFC 6716 §3.1: CELT, full band, one frame).
var opusSilence = []byte{0xfc, 0xff, 0xfe}

const opusFrame = 20 * time.Millisecond

// WHIPPlay says how a clip is sent over WebRTC.
type WHIPPlay struct {
	// Clip is one whose keyframes bring their parameter sets ([Synthetic.RepeatSets]); its sound
	// is left out, silence in Opus takes its place.
	Clip *Clip
	// Layers are the clips of the layers, in the place of Clip; all have keyframes where the first one has.
	Layers []*Clip
	// Holds keeps a layer's picture back, as a browser does where the network carries less; may be
	// nil.
	Holds func(layer int, at time.Duration) bool
	// Limit ends the playing; 0 goes on until ctx ends.
	Limit time.Duration
	// Keep sends the clip's keyframes alone, whatever the server asks for.
	Keep bool
	// Sent is called with the number and time of each picture that was sent, of the first layer; may be nil.
	Sent func(number uint64, at time.Duration)
}

// Play sends a clip in real time, as an encoder does: a keyframe follows when the server asks
// for one.
func (w *WHIP) Play(ctx context.Context, p WHIPPlay) error {
	if p.Layers == nil {
		p.Layers = []*Clip{p.Clip}
	}
	v := p.Layers[0].Video
	if v == nil {
		return ErrNoTrack
	}
	begun := time.Now()
	frame := media.FromTicks(v.Period, v.Rate) / time.Duration(len(v.Samples))
	at, sound := 0, time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for number := uint64(0); ; number++ {
		now := time.Duration(number) * frame
		if p.Limit > 0 && now >= p.Limit {
			return nil
		}
		timer.Reset(time.Until(begun.Add(now)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !p.Keep {
			select {
			case <-w.keyframe:
				at = v.nextKey(at)
			default:
			}
		}
		if err := w.picture(&p, number, at, now); err != nil {
			return err
		}
		at = (at + 1) % len(v.Samples)
		for ; w.audio != nil && sound <= now; sound += opusFrame {
			if err := w.Audio(opusSilence, sound); err != nil {
				return err
			}
		}
	}
}

// picture sends the picture of a number in all layers.
func (w *WHIP) picture(p *WHIPPlay, number uint64, at int, now time.Duration) error {
	for i, clip := range p.Layers {
		if w.video == nil && w.sizes == nil || p.Holds != nil && p.Holds(i, now) {
			continue
		}
		u := Unit{Kind: media.Video, Number: number, sample: &clip.Video.Samples[at]}
		var err error
		if w.sizes != nil {
			err = w.Layer(i, u.Payload(), now)
		} else {
			err = w.Video(u.Payload(), now)
		}
		if err != nil {
			return err
		}
		if i == 0 && p.Sent != nil {
			p.Sent(number, now)
		}
	}
	return nil
}

// nextKey is the next keyframe from a sample on.
func (t *Track) nextKey(at int) int {
	for i := range t.Samples {
		if n := (at + i) % len(t.Samples); t.Samples[n].Key {
			return n
		}
	}
	return at
}
