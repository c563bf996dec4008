package media

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// ErrUnplayable is returned for parameters that are well-formed and that players
// refuse all the same. Its text says what to set in the encoder.
var ErrUnplayable = errors.New("media: players refuse these parameters")

// The sample rates that ISO/IEC 14496-3 table 1.18 names lie between these, in Hz.
const (
	minAACRate = 7350
	maxAACRate = 96000
)

// AAC are the parameters of an AAC track: its AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
type AAC struct {
	Config []byte

	asc mpeg4audio.AudioSpecificConfig
}

// NewAAC reads an AudioSpecificConfig. Errors wrap ErrUnplayable when it can be read.
func NewAAC(config []byte) (*AAC, error) {
	p := &AAC{Config: config}
	if err := p.asc.Unmarshal(config); err != nil {
		return nil, fmt.Errorf("AAC AudioSpecificConfig: %w", err)
	}
	if p.asc.ChannelConfig == 0 {
		// Browsers and most hardware players refuse such streams.
		return nil, fmt.Errorf("%w: AAC with a channel layout in a program config element; set the encoder to mono, stereo or 5.1", ErrUnplayable)
	}
	if r := p.asc.SampleRate; r < minAACRate || r > maxAACRate {
		// A rate of a few Hz would also make frames that last for minutes.
		return nil, fmt.Errorf("%w: AAC of %d Hz; set the encoder to 44100 or 48000 Hz", ErrUnplayable, r)
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
