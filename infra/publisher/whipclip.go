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
	// Limit ends the playing; 0 goes on until ctx ends.
	Limit time.Duration
	// Keep sends the clip's keyframes alone, whatever the server asks for.
	Keep bool
	// Sent is called with the number and time of each picture that was sent; may be nil.
	Sent func(number uint64, at time.Duration)
}

// Play sends a clip in real time, as an encoder does: a keyframe follows when the server asks
// for one.
func (w *WHIP) Play(ctx context.Context, p WHIPPlay) error {
	v := p.Clip.Video
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
		if w.video != nil {
			u := Unit{Kind: media.Video, Number: number, sample: &v.Samples[at]}
			if err := w.Video(u.Payload(), now); err != nil {
				return err
			}
			if p.Sent != nil {
				p.Sent(number, now)
			}
		}
		at = (at + 1) % len(v.Samples)
		for ; w.audio != nil && sound <= now; sound += opusFrame {
			if err := w.Audio(opusSilence, sound); err != nil {
				return err
			}
		}
	}
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
