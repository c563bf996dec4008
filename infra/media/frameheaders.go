package media

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg1audio"
)

// FrameHeader is how many bytes [ReadAC3] and [ReadMP3] need.
const FrameHeader = 8

// ErrFrame is returned for bytes where no audio frame begins.
var ErrFrame = errors.New("media: no audio frame begins here")

// ReadAC3 reads the header of an AC-3 frame (ETSI TS 102 366 §4): its track's parameters and
// its length in bytes. b has at least FrameHeader bytes. Errors wrap ErrFrame.
func ReadAC3(b []byte) (p *AC3, size int, err error) {
	var sync ac3.SyncInfo
	var info ac3.BSI
	if len(b) < FrameHeader || sync.Unmarshal(b) != nil || info.Unmarshal(b[5:]) != nil {
		return nil, 0, ErrFrame
	}
	p, err = NewAC3(AC3{
		RateCode: sync.Fscod, ID: info.Bsid, Mode: info.Bsmod, Coding: info.Acmod, LFE: info.LfeOn, BitrateCode: sync.Frmsizecod / 2,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return p, sync.FrameSize(), nil
}

// ReadMP3 reads the header of an MPEG audio frame (ISO/IEC 11172-3 §2.4), as ReadAC3 does.
// Layer II is an error that wraps ErrUnplayable.
func ReadMP3(b []byte) (p *MP3, size int, err error) {
	var h mpeg1audio.FrameHeader
	if len(b) < FrameHeader || h.Unmarshal(b) != nil || h.SampleRate == 0 {
		return nil, 0, ErrFrame
	}
	if h.Layer != 3 {
		return nil, 0, fmt.Errorf("%w: MPEG audio layer II; send AAC or MP3", ErrUnplayable)
	}
	p = &MP3{Rate: uint32(h.SampleRate), ChannelCount: 2}
	if h.ChannelMode == mpeg1audio.ChannelModeMono {
		p.ChannelCount = 1
	}
	size = p.FrameSamples() / 8 * h.Bitrate / h.SampleRate
	if h.Padding {
		size++
	}
	if size < FrameHeader {
		return nil, 0, ErrFrame
	}
	return p, size, nil
}
