package media

import (
	"bytes"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// AAC are the parameters of an AAC track: its AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
type AAC struct {
	Config []byte

	asc mpeg4audio.AudioSpecificConfig
}

// NewAAC reads an AudioSpecificConfig.
func NewAAC(config []byte) (*AAC, error) {
	p := &AAC{Config: config}
	if err := p.asc.Unmarshal(config); err != nil {
		return nil, fmt.Errorf("AAC AudioSpecificConfig: %w", err)
	}
	if p.asc.ChannelConfig == 0 {
		// Browsers and most hardware players refuse such streams, so the encoder is told.
		return nil, fmt.Errorf("AAC AudioSpecificConfig: a channel layout in a program config element can't be played; set the encoder to mono, stereo or 5.1")
	}
	return p, nil
}

// Kind is Audio.
func (*AAC) Kind() Kind { return Audio }

// Codec is "AAC".
func (*AAC) Codec() string { return "AAC" }

// CodecString is mp4a.40.N with N the audio object type.
func (p *AAC) CodecString() string {
	t := p.asc.Type
	if p.asc.ExtensionType != 0 {
		t = p.asc.ExtensionType
	}
	return fmt.Sprintf("mp4a.40.%d", t)
}

// Equal compares the configurations byte by byte.
func (p *AAC) Equal(o Params) bool {
	q, ok := o.(*AAC)
	return ok && bytes.Equal(p.Config, q.Config)
}

// SampleRate is the core rate in Hz.
func (p *AAC) SampleRate() uint32 { return uint32(p.asc.SampleRate) }

// Channels is the number of channels.
func (p *AAC) Channels() int {
	if p.asc.ChannelConfig == 7 { // ISO/IEC 14496-3 table 1.19
		return 8
	}
	return int(p.asc.ChannelConfig)
}

// FrameSamples is 1024, or 960 with the short frame flag.
func (p *AAC) FrameSamples() int {
	if p.asc.FrameLengthFlag {
		return 960
	}
	return mpeg4audio.SamplesPerAccessUnit
}

func (*AAC) sealed() {}
