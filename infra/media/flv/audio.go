package flv

import (
	"bytes"
	"errors"
	"fmt"

	"klive/infra/media"
)

// AudioParser reads the audio tags of one track. The zero value is ready. It is not safe
// for concurrent use.
type AudioParser struct {
	params media.AudioParams
}

const (
	soundEx  = 9
	soundAAC = 10
)

// Parse reads the body of an audio tag. The access unit lies in the body. Errors are
// ErrMalformed and ErrCodec.
func (p *AudioParser) Parse(body []byte) (Unit, error) {
	if len(body) == 0 {
		return Unit{}, fmt.Errorf("%w: empty audio tag", ErrMalformed)
	}
	switch format := body[0] >> 4; format {
	case soundEx:
		return p.parseEx(body)
	case soundAAC:
	default:
		return Unit{}, fmt.Errorf("%w: audio codec %s; send AAC, or Opus, MP3 or AC-3 in the form of Enhanced RTMP", ErrCodec, audioCodecName(format))
	}
	if len(body) < 2 {
		return Unit{}, fmt.Errorf("%w: AAC tag of %d bytes", ErrMalformed, len(body))
	}
	switch body[1] {
	case 0:
		return p.aac(body[2:])
	case 1:
		return p.unit(body[2:], "AAC"), nil
	}
	return Unit{}, fmt.Errorf("%w: AAC packet type %d", ErrMalformed, body[1])
}

func (p *AudioParser) parseEx(body []byte) (Unit, error) {
	rest, typ, err := skipModEx(body[1:], body[0]&0x0f)
	if err != nil {
		return Unit{}, err
	}
	cc, rest, err := readCodec(rest, typ, exMultitrack)
	if err != nil {
		return Unit{}, err
	}
	switch cc {
	case fourAAC:
		switch typ {
		case exSequenceStart:
			return p.aac(rest)
		case exCodedFrames:
			return p.unit(rest, "AAC"), nil
		}
	case fourOpus:
		switch typ {
		case exSequenceStart:
			return p.opus(rest)
		case exCodedFrames:
			return p.unit(rest, "Opus"), nil
		}
	case fourMP3, fourAC3:
		if typ == exCodedFrames {
			return p.framed(cc, rest)
		}
	default:
		return Unit{}, fmt.Errorf("%w: audio codec %v; send AAC (mp4a), Opus, MP3 (.mp3) or AC-3 (ac-3)", ErrCodec, cc)
	}
	return Unit{}, nil
}

// framed reads a frame whose own header tells the parameters.
func (p *AudioParser) framed(cc fourCC, b []byte) (Unit, error) {
	var params media.AudioParams
	var size int
	var err error
	if cc == fourMP3 {
		params, size, err = readMP3(b)
	} else {
		params, size, err = readAC3(b)
	}
	switch {
	case errors.Is(err, media.ErrUnplayable):
		return Unit{}, fmt.Errorf("%w: %w", ErrCodec, err)
	case err != nil:
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	case size > len(b):
		return Unit{}, fmt.Errorf("%w: %v frame of %d bytes in %d", ErrMalformed, cc, size, len(b))
	}
	u := p.announce(params)
	u.Payload, u.Key = b[:size:size], true
	return u, nil
}

func readMP3(b []byte) (media.AudioParams, int, error) {
	p, size, err := media.ReadMP3(b)
	if err != nil {
		return nil, 0, err
	}
	return p, size, nil
}

func readAC3(b []byte) (media.AudioParams, int, error) {
	p, size, err := media.ReadAC3(b)
	if err != nil {
		return nil, 0, err
	}
	return p, size, nil
}

// unit returns an access unit, or nothing before the parameters of its codec.
func (p *AudioParser) unit(b []byte, codec string) Unit {
	if p.params == nil || p.params.Codec() != codec || len(b) == 0 {
		return Unit{}
	}
	return Unit{Payload: b[:len(b):len(b)], Key: true}
}

func (p *AudioParser) aac(config []byte) (Unit, error) {
	params, err := media.NewAAC(bytes.Clone(config))
	if errors.Is(err, media.ErrUnplayable) {
		return Unit{}, fmt.Errorf("%w: %w", ErrCodec, err)
	}
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return p.announce(params), nil
}

// opus reads an identification header (RFC 7845 §5.1).
func (p *AudioParser) opus(head []byte) (Unit, error) {
	if len(head) < 19 || !bytes.HasPrefix(head, []byte("OpusHead")) {
		return Unit{}, fmt.Errorf("%w: Opus header of %d bytes", ErrMalformed, len(head))
	}
	if head[9] != 1 && head[9] != 2 {
		return Unit{}, fmt.Errorf("%w: Opus with %d channels; send one or two", ErrCodec, head[9])
	}
	return p.announce(&media.Opus{ChannelCount: int(head[9])}), nil
}

func (p *AudioParser) announce(params media.AudioParams) Unit {
	if p.params != nil && p.params.Equal(params) {
		return Unit{}
	}
	p.params = params
	return Unit{Params: params}
}

func audioCodecName(format byte) string {
	switch format {
	case 0, 3:
		return "PCM"
	case 1:
		return "ADPCM"
	case 2, 14:
		return "MP3"
	case 4, 5, 6:
		return "Nellymoser"
	case 7, 8:
		return "G.711"
	case 11:
		return "Speex"
	}
	return fmt.Sprintf("%d", format)
}
