package flv

import (
	"errors"
	"fmt"

	"klive/infra/media"
	"klive/infra/media/nal"
)

// VideoParser reads the video tags of one track. The zero value is ready. It is not safe
// for concurrent use.
type VideoParser struct {
	// units is nil before the first sequence header; lengthSize is the width of its NAL
	// length fields in bytes.
	units      *nal.Parser
	lengthSize int
	av1        *media.AV1 // nil before a sequence header of that codec
	vp9        *vp9       // the same
}

// Parse reads the body of a video tag; ms is the tag's timestamp. It takes the body over:
// the access unit may lie in it, and bytes may be moved within it. Errors are ErrMalformed,
// ErrCodec and [nal.ErrNoKeyframes].
func (p *VideoParser) Parse(body []byte, ms uint32) (Unit, error) {
	h, err := readVideoHeader(body)
	if err != nil {
		return Unit{}, err
	}
	switch h.packet {
	case packetSequence:
		// What is known of other codecs goes: coming back to one, its parameters are news.
		switch {
		case h.av1:
			p.units, p.vp9 = nil, nil
			return p.av1Sequence(h.body)
		case h.vp9:
			p.units, p.av1 = nil, nil
			return p.vp9Sequence(h.body)
		}
		p.av1, p.vp9 = nil, nil
		return p.sequence(h)
	case packetFrame:
		switch {
		case h.av1:
			return p.av1Frame(h.body)
		case h.vp9:
			return p.vp9Frame(h.body)
		}
		return p.frame(h, ms)
	}
	return Unit{}, nil
}

// videoHeader is a tag's header, of either kind.
type videoHeader struct {
	hevc   bool
	av1    bool
	vp9    bool
	packet packet
	// flagged is the tag's own claim that this is a keyframe.
	flagged bool
	offset  int32
	body    []byte
}

const (
	codecAVC  = 7
	codecHEVC = 12 // not Adobe's, but what many encoders send

	frameKey     = 1
	frameCommand = 5

	exCodedFramesX    = 3
	exVideoMetadata   = 4
	exVideoMultitrack = 6
)

func readVideoHeader(b []byte) (videoHeader, error) {
	if len(b) == 0 {
		return videoHeader{}, fmt.Errorf("%w: empty video tag", ErrMalformed)
	}
	if b[0]&0x80 != 0 {
		return readExVideoHeader(b)
	}
	h := videoHeader{flagged: b[0]>>4 == frameKey}
	codec := b[0] & 0x0f
	if b[0]>>4 == frameCommand {
		return h, nil
	}
	switch codec {
	case codecAVC:
	case codecHEVC:
		h.hevc = true
	default:
		return h, fmt.Errorf("%w: video codec %s; send H.264 or HEVC, or AV1 or VP9 in the form of Enhanced RTMP", ErrCodec, videoCodecName(codec))
	}
	if len(b) < 5 {
		return h, fmt.Errorf("%w: video tag of %d bytes", ErrMalformed, len(b))
	}
	h.body = b[5:]
	switch b[1] {
	case 0:
		h.packet = packetSequence
	case 1:
		h.packet, h.offset = packetFrame, int24(b[2:])
	case 2:
		h.packet = packetEnd
	default:
		return h, fmt.Errorf("%w: AVC packet type %d", ErrMalformed, b[1])
	}
	return h, nil
}

func readExVideoHeader(b []byte) (videoHeader, error) {
	h := videoHeader{flagged: b[0]>>4&7 == frameKey}
	rest, typ, err := skipModEx(b[1:], b[0]&0x0f)
	if err != nil {
		return h, err
	}
	if typ == exVideoMetadata || b[0]>>4&7 == frameCommand {
		return h, nil
	}
	cc, body, err := readCodec(rest, typ, exVideoMultitrack)
	if err != nil {
		return h, err
	}
	switch cc {
	case fourAVC:
	case fourHEVC:
		h.hevc = true
	case fourAV1:
		h.av1 = true
	case fourVP9:
		h.vp9 = true
	default:
		return h, fmt.Errorf("%w: video codec %v; send H.264 (avc1), HEVC (hvc1), AV1 (av01) or VP9 (vp09)", ErrCodec, cc)
	}
	h.body = body
	switch typ {
	case exSequenceStart:
		h.packet = packetSequence
	case exCodedFrames:
		if h.av1 || h.vp9 { // composition times are H.264's and HEVC's alone
			h.packet = packetFrame
			return h, nil
		}
		if len(body) < 3 {
			return h, fmt.Errorf("%w: coded frame of %d bytes", ErrMalformed, len(body))
		}
		h.packet, h.offset, h.body = packetFrame, int24(body), body[3:]
	case exCodedFramesX:
		h.packet = packetFrame
	case exSequenceEnd:
		h.packet = packetEnd
	}
	return h, nil
}

func videoCodecName(id byte) string {
	switch id {
	case 2:
		return "Sorenson H.263"
	case 3:
		return "Screen video"
	case 4, 5:
		return "VP6"
	case 6:
		return "Screen video 2"
	case 13:
		return "AV1"
	}
	return fmt.Sprintf("%d", id)
}

// sequence takes a decoder configuration record over.
func (p *VideoParser) sequence(h videoHeader) (Unit, error) {
	units := p.units
	if units == nil || units.HEVC() != h.hevc {
		units = nal.NewParser(h.hevc)
	}
	params, size, err := units.Config(h.body)
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	p.units, p.lengthSize = units, size
	return Unit{Params: params}, nil
}

// frame reads an access unit.
func (p *VideoParser) frame(h videoHeader, ms uint32) (Unit, error) {
	if p.units == nil || h.hevc != p.units.HEVC() {
		// A frame before its sequence header can't be decoded.
		return Unit{}, nil
	}
	body := h.body
	if p.lengthSize != 4 {
		var err error
		if body, err = nal.WidenLengths(body, p.lengthSize); err != nil {
			return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	u, err := p.units.Unit(body, ms, h.flagged)
	if errors.Is(err, nal.ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err != nil {
		return Unit{}, err
	}
	return Unit{Params: u.Params, Payload: u.Payload, Offset: h.offset, Key: u.Key}, nil
}
