package publisher

import (
	"context"
	"time"

	"klive/infra/media"
)

// FLV tag headers (FLV 10.1 §E.4.2.1, §E.4.3.1).
const (
	flvKeyAVC    = 0x17
	flvInterAVC  = 0x27
	flvAAC       = 0xaf // AAC; rate, size and channels are fixed for it
	flvConfig    = 0
	flvAccess    = 1
	videoHeader  = 5
	audioHeader  = 2
	videoAllHead = videoHeader + 512
)

// Sender puts the units of a clip on a Publisher. It is not safe for concurrent use.
type Sender struct {
	p    *Publisher
	head []byte
}

// NewSender returns a sender on p.
func NewSender(p *Publisher) *Sender { return &Sender{p: p, head: make([]byte, 0, videoAllHead)} }

// Begin announces the clip: its metadata and decoder configurations.
func (s *Sender) Begin(c *Clip, timestamp uint32) error {
	if err := s.p.WriteMeta(c.Meta); err != nil {
		return err
	}
	for _, t := range []*Track{c.Video, c.Audio} {
		if t == nil {
			continue
		}
		if err := s.Config(t, timestamp); err != nil {
			return err
		}
	}
	return nil
}

// Config sends the decoder configuration of one track.
func (s *Sender) Config(t *Track, timestamp uint32) error {
	if t.Kind == media.Audio {
		return s.p.WriteAudio(timestamp, []byte{flvAAC, flvConfig}, t.Config)
	}
	return s.p.WriteVideo(timestamp, []byte{flvKeyAVC, flvConfig, 0, 0, 0}, t.Config)
}

// Millis rounds a time to RTMP's milliseconds, as encoders do.
func Millis(d time.Duration) int64 { return media.ToTicks(d, 1000) }

// Send sends one unit. offset is added to its timestamp, in ms; it wraps at 32 bits.
func (s *Sender) Send(u Unit, offset int64) error {
	dts := Millis(u.DTS)
	s.head = s.head[:0]
	if u.Kind == media.Video {
		cts := Millis(u.PTS) - dts
		s.head = append(s.head, flvInterAVC, flvAccess, byte(cts>>16), byte(cts>>8), byte(cts))
		if u.Key {
			s.head[0] = flvKeyAVC
		}
	} else {
		s.head = append(s.head, flvAAC, flvAccess)
	}
	// Up to the mark's end the payload is this stream's own; the rest is shared.
	own := u.sample.mark + markDigits
	at := len(s.head) + u.sample.mark
	s.head = append(s.head, u.sample.Payload[:own]...)
	putMark(s.head[at:at+markDigits], u.Number)
	timestamp := uint32(dts + offset)
	if u.Kind == media.Video {
		return s.p.WriteVideo(timestamp, s.head, u.sample.Payload[own:])
	}
	return s.p.WriteAudio(timestamp, s.head, u.sample.Payload[own:])
}

// Play says how to play a clip.
type Play struct {
	Clip *Clip
	// Start is the timestamp of the clip's time 0, in ms.
	Start uint32
	// Limit ends the play at this decode time; 0 goes on until the context ends.
	Limit time.Duration
	// Unpaced sends as fast as the server takes it instead of in real time.
	Unpaced bool
	// Sent is told of each unit that went out; may be nil.
	Sent func(Unit)
}

// Play sends a clip over and over. It returns nil at the limit, the context's error when
// that ends first, and the reason when the server or the network ends the stream.
func (p *Publisher) Play(ctx context.Context, play Play) error {
	cursor, err := play.Clip.Cursor()
	if err != nil {
		return err
	}
	sender := NewSender(p)
	if err := sender.Begin(play.Clip, play.Start); err != nil {
		return err
	}
	pace := pacer{begin: time.Now(), timer: time.NewTimer(0)}
	defer pace.timer.Stop()
	for {
		u := cursor.Next()
		if play.Limit > 0 && u.DTS >= play.Limit {
			return nil
		}
		if play.Unpaced {
			err = ctx.Err()
		} else {
			err = pace.until(ctx, p, u.DTS)
		}
		if err != nil {
			return err
		}
		if err := sender.Send(u, int64(play.Start)); err != nil {
			return err
		}
		if play.Sent != nil {
			play.Sent(u)
		}
	}
}

// pacer waits for moments after its beginning.
type pacer struct {
	begin time.Time
	timer *time.Timer
}

func (c *pacer) until(ctx context.Context, p *Publisher, at time.Duration) error {
	wait := at - time.Since(c.begin)
	if wait <= 0 {
		return ctx.Err()
	}
	c.timer.Reset(wait)
	select {
	case <-c.timer.C:
		return nil
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
