package ts

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/substructs"

	"klive/infra/media"
)

// adts reads AAC in ADTS frames (ISO/IEC 14496-3 §1.A.2.2).
type adts struct {
	fixed  [2]byte // the header's bytes that the parameters come from
	params media.AudioParams
}

const adtsHeader = 7

// adtsRates are the sampling frequencies by index (ISO/IEC 14496-3 table 1.18).
var adtsRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

func (a *adts) next(b []byte) (audioFrame, error) {
	if len(b) < adtsHeader {
		return audioFrame{}, errShort
	}
	if b[0] != 0xff || b[1]&0xf6 != 0xf0 {
		return audioFrame{}, errNoFrame
	}
	header := adtsHeader
	if b[1]&1 == 0 {
		header += 2 // CRC
	}
	size := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
	rate := int(b[2] >> 2 & 0x0f)
	if size <= header || rate >= len(adtsRates) || b[6]&3 != 0 { // several blocks in a frame
		return audioFrame{}, errNoFrame
	}
	if size > len(b) {
		return audioFrame{}, errShort
	}
	if fixed := [2]byte{b[2] &^ 2, b[3] & 0xc0}; a.params == nil || fixed != a.fixed {
		config, err := mpeg4audio.AudioSpecificConfig{
			Type: mpeg4audio.ObjectType(b[2]>>6) + 1, SampleRate: adtsRates[rate], ChannelConfig: b[2]&1<<2 | b[3]>>6,
		}.Marshal()
		if err != nil {
			return audioFrame{}, errNoFrame
		}
		params, err := media.NewAAC(config)
		if err != nil {
			return audioFrame{}, unusable("AAC", err)
		}
		a.fixed, a.params = fixed, params
	}
	return audioFrame{size: size, params: a.params, units: [][]byte{b[header:size]}}, nil
}

// latm reads AAC in LOAS frames (ISO/IEC 14496-3 §1.7.2, §1.7.3).
type latm struct {
	config *mpeg4audio.StreamMuxConfig
	params media.AudioParams
}

func (l *latm) next(b []byte) (audioFrame, error) {
	if len(b) < 3 {
		return audioFrame{}, errShort
	}
	if b[0] != 0x56 || b[1]&0xe0 != 0xe0 {
		return audioFrame{}, errNoFrame
	}
	size := 3 + (int(b[1]&0x1f)<<8 | int(b[2]))
	if size > len(b) {
		return audioFrame{}, errShort
	}
	f := audioFrame{size: size}
	element := mpeg4audio.AudioMuxElement{MuxConfigPresent: true, StreamMuxConfig: l.config}
	if err := element.Unmarshal(b[3:size]); err != nil {
		if l.config == nil {
			return f, nil // before the first configuration
		}
		return audioFrame{}, fmt.Errorf("%w: LATM: %w", errNoFrame, err)
	}
	if element.StreamMuxConfig != l.config {
		if err := l.adopt(element.StreamMuxConfig); err != nil {
			return audioFrame{}, err
		}
	}
	f.params = l.params
	for _, sub := range element.Payloads {
		if len(sub) > 0 && len(sub[0]) > 0 {
			f.units = append(f.units, sub[0][0])
		}
	}
	return f, nil
}

func (l *latm) adopt(c *mpeg4audio.StreamMuxConfig) error {
	if len(c.Programs) == 0 || len(c.Programs[0].Layers) == 0 || c.Programs[0].Layers[0].AudioSpecificConfig == nil {
		return fmt.Errorf("%w: LATM without a configuration", errNoFrame)
	}
	config, err := c.Programs[0].Layers[0].AudioSpecificConfig.Marshal()
	if err != nil {
		return fmt.Errorf("%w: LATM: %w", errNoFrame, err)
	}
	params, err := media.NewAAC(config)
	if err != nil {
		return unusable("LATM", err)
	}
	l.config, l.params = c, params
	return nil
}

// mpegAudio reads layer III frames.
type mpegAudio struct{ params *media.MP3 }

func (m *mpegAudio) next(b []byte) (audioFrame, error) {
	if len(b) < media.FrameHeader {
		return audioFrame{}, errShort
	}
	p, size, err := media.ReadMP3(b)
	switch {
	case err != nil:
		return audioFrame{}, unusable("MPEG audio", err)
	case size > len(b):
		return audioFrame{}, errShort
	}
	if m.params == nil || *m.params != *p {
		m.params = p
	}
	return audioFrame{size: size, params: m.params, units: [][]byte{b[:size]}}, nil
}

// ac3Audio reads AC-3 frames.
type ac3Audio struct{ params *media.AC3 }

func (a *ac3Audio) next(b []byte) (audioFrame, error) {
	if len(b) < media.FrameHeader {
		return audioFrame{}, errShort
	}
	p, size, err := media.ReadAC3(b)
	switch {
	case err != nil:
		return audioFrame{}, unusable("AC-3", err)
	case size > len(b):
		return audioFrame{}, errShort
	}
	if a.params == nil || !a.params.Equal(p) {
		a.params = p
	}
	return audioFrame{size: size, params: a.params, units: [][]byte{b[:size]}}, nil
}

// opus reads Opus access units (ETSI TS "Opus in MPEG-2 TS" §6).
type opus struct {
	channels int
	params   *media.Opus
}

func (o *opus) next(b []byte) (audioFrame, error) {
	if len(b) < 2 {
		return audioFrame{}, errShort
	}
	if b[0] != 0x7f || b[1]&0xe0 != 0xe0 {
		return audioFrame{}, errNoFrame
	}
	var au substructs.OpusAccessUnit
	n, err := au.Unmarshal(b)
	if err != nil {
		return audioFrame{}, errShort
	}
	if media.OpusPacketDuration(au.Packet) == 0 {
		return audioFrame{}, errNoFrame
	}
	if o.params == nil {
		o.params = &media.Opus{ChannelCount: o.channels}
	}
	return audioFrame{size: n, params: o.params, units: [][]byte{au.Packet}}, nil
}
