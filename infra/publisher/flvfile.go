package publisher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"klive/infra/media"
)

// ErrFLV is returned for a file that is no FLV with H264 and AAC.
var ErrFLV = errors.New("publisher: not an FLV file with H264 video and AAC audio")

// FLV tag types and sizes (FLV 10.1 §E.2, §E.4.1).
const (
	flvAudioTag  = 8
	flvVideoTag  = 9
	flvTagHeader = 11
	flvBackPtr   = 4
	codecAVC     = 7
	codecAAC     = 10
)

// ReadFLV makes a clip of an FLV file as encoders write it (H264, AAC). FLV rounds times
// to milliseconds; the frame rate num/den gives the video its exact times back, and audio
// frames are put on the grid of their sample rate.
func ReadFLV(file []byte, num, den int) (*Clip, error) {
	if len(file) < 9 || !bytes.Equal(file[:3], []byte("FLV")) || num < 1 || den < 1 {
		return nil, ErrFLV
	}
	c := &Clip{}
	at := int(binary.BigEndian.Uint32(file[5:])) + flvBackPtr
	for at+flvTagHeader <= len(file) {
		size := int(file[at+1])<<16 | int(file[at+2])<<8 | int(file[at+3])
		millis := int64(file[at+7])<<24 | int64(file[at+4])<<16 | int64(file[at+5])<<8 | int64(file[at+6])
		body := at + flvTagHeader
		if body+size > len(file) {
			return nil, fmt.Errorf("%w: it is cut off at byte %d", ErrFLV, at)
		}
		if err := c.tag(file[at]&0x1f, millis, file[body:body+size]); err != nil {
			return nil, fmt.Errorf("%w at byte %d", err, at)
		}
		at = body + size + flvBackPtr
	}
	return c, c.regularise(num, den)
}

func (c *Clip) tag(kind byte, millis int64, body []byte) error {
	switch {
	case kind == flvVideoTag && len(body) > videoHeader:
		if body[0]&0x0f != codecAVC {
			return fmt.Errorf("%w: video codec %d", ErrFLV, body[0]&0x0f)
		}
		if c.Video == nil {
			c.Video = &Track{Kind: media.Video, Rate: 1000}
		}
		cts := int64(int32(uint32(body[2])<<24|uint32(body[3])<<16|uint32(body[4])<<8) >> 8)
		c.Video.add(body[1], Sample{DTS: millis, PTS: millis + cts, Key: body[0]>>4 == 1, Payload: body[videoHeader:]})
	case kind == flvAudioTag && len(body) > audioHeader:
		if body[0]>>4 != codecAAC {
			return fmt.Errorf("%w: audio codec %d", ErrFLV, body[0]>>4)
		}
		if c.Audio == nil {
			c.Audio = &Track{Kind: media.Audio, Rate: 1000}
		}
		c.Audio.add(body[1], Sample{DTS: millis, PTS: millis, Key: true, Payload: body[audioHeader:]})
	}
	return nil
}

func (t *Track) add(packet byte, s Sample) {
	switch packet {
	case flvConfig:
		t.Config = s.Payload
	case flvAccess:
		t.Samples = append(t.Samples, s)
	}
}

// regularise replaces rounded times by exact ones and marks the samples.
func (c *Clip) regularise(num, den int) error {
	if c.Video == nil && c.Audio == nil {
		return fmt.Errorf("%w: no media", ErrFLV)
	}
	if v := c.Video; v != nil {
		if v.Config == nil || len(v.Samples) == 0 || !v.Samples[0].Key {
			return fmt.Errorf("%w: video does not begin with its configuration and a keyframe", ErrFLV)
		}
		v.snap(uint32(num), int64(den))
		if err := v.mark(); err != nil {
			return err
		}
	}
	if a := c.Audio; a != nil {
		p, err := media.NewAAC(a.Config)
		if err != nil {
			return err
		}
		a.snap(p.SampleRate(), int64(p.FrameSamples()))
		return a.mark()
	}
	return nil
}

// snap puts each sample on the grid of its number: the track runs at rate ticks a second
// and step ticks a sample.
func (t *Track) snap(rate uint32, step int64) {
	first := t.Samples[0].DTS
	origin := (first*int64(rate) + 500*step) / (1000 * step) // of the grid, in steps
	for i := range t.Samples {
		s := &t.Samples[i]
		shown := s.PTS - s.DTS
		offset := (shown*int64(rate) + 500*step) / (1000 * step)
		s.DTS = (origin + int64(i)) * step
		s.PTS = s.DTS + offset*step
	}
	t.Rate, t.Period = rate, int64(len(t.Samples))*step
}
