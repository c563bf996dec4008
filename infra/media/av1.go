package media

import (
	"bytes"
	"errors"
	"fmt"
)

// AV1 are the parameters of an AV1 track: its AV1CodecConfigurationRecord ("AV1 Codec ISO
// Media File Format Binding" §2.3), with the sequence header in it.
type AV1 struct {
	Pose

	Config []byte

	width, height int
	frameRate     float64
}

const (
	av1Version  = 0x81 // marker and version 1
	av1Header   = 4    // bytes before the OBUs
	obuSequence = 1
)

var errAV1 = errors.New("AV1: malformed codec configuration")

// NewAV1 checks a configuration record and reads its sequence header.
func NewAV1(config []byte) (*AV1, error) {
	if len(config) < av1Header || config[0] != av1Version {
		return nil, errAV1
	}
	p := &AV1{Config: config}
	h, err := findAV1Sequence(config[av1Header:])
	if err != nil {
		return nil, err
	}
	p.width, p.height, p.frameRate = h.width, h.height, h.frameRate
	return p, nil
}

// findAV1Sequence reads the first sequence header among OBUs.
func findAV1Sequence(obus []byte) (h *av1Sequence, err error) {
	found := false
	walked := WalkOBUs(obus, func(typ byte, _, payload []byte) {
		if typ == obuSequence && !found {
			found = true
			h, err = readAV1Sequence(payload)
		}
	})
	switch {
	case walked != nil:
		return nil, walked
	case !found:
		return nil, fmt.Errorf("%w: it has no sequence header", errAV1)
	}
	return h, err
}

// NewAV1Sequence makes the parameters of a stream whose sequence header comes within it: the OBU
// with its size.
func NewAV1Sequence(obu []byte) (*AV1, error) {
	h, err := findAV1Sequence(obu)
	if err != nil {
		return nil, err
	}
	flag := func(set bool, bit byte) byte {
		if set {
			return 1 << bit
		}
		return 0
	}
	config := []byte{av1Version, h.profile<<5 | h.level,
		flag(h.highTier, 7) | flag(h.highDepth, 6) | flag(h.twelveBit, 5) | flag(h.mono, 4) |
			flag(h.subsampleX, 3) | flag(h.subsampleY, 2) | h.chromaPosition, 0}
	return NewAV1(append(config, obu...))
}

// OBU types (AV1 specification §6.2.2).
const (
	obuDelimiter   = 2
	obuFrameHeader = 3
	obuFrame       = 6
	obuTileList    = 8
	obuPadding     = 15
)

// TrimAV1 makes a sample of a temporal unit, within its bytes. What does not belong there is left
// out: temporal delimiters, tile lists and padding (binding §2.4). key says that it begins with a
// keyframe; sequence is its sequence header, nil when it has none.
func TrimAV1(unit []byte) (sample []byte, key bool, sequence []byte, err error) {
	out, seen := unit[:0], false
	err = WalkOBUs(unit, func(typ byte, obu, payload []byte) {
		switch typ {
		case obuDelimiter, obuTileList, obuPadding:
			return
		case obuSequence:
			sequence = bytes.Clone(obu)
		case obuFrame, obuFrameHeader:
			if !seen && len(payload) > 0 {
				// show_existing_frame 0, frame_type KEY_FRAME
				seen, key = true, payload[0]&0xe0 == 0
			}
		}
		out = append(out, obu...) // never beyond what was read
	})
	if err != nil {
		return nil, false, nil, err
	}
	return out[:len(out):len(out)], key, sequence, nil
}

// WalkOBUs calls f for each OBU of a low-overhead bitstream (AV1 specification §5.3): its
// type, the whole of it, and its payload alone. All OBUs but the last need a size.
func WalkOBUs(b []byte, f func(typ byte, obu, payload []byte)) error {
	for len(b) > 0 {
		head := 1
		if b[0]&4 != 0 { // extension
			head++
		}
		if b[0]&0x80 != 0 || head > len(b) {
			return fmt.Errorf("%w: OBU header", errAV1)
		}
		size, end := len(b)-head, len(b)
		if b[0]&2 != 0 {
			v, n := leb128(b[head:])
			if n == 0 || v > uint64(len(b)-head-n) {
				return fmt.Errorf("%w: OBU size", errAV1)
			}
			head += n
			size, end = int(v), head+int(v)
		}
		f(b[0]>>3&0x0f, b[:end], b[head:head+size])
		b = b[end:]
	}
	return nil
}

// leb128 reads a number and tells its length; 0 when there is none.
func leb128(b []byte) (v uint64, n int) {
	for i := 0; i < len(b) && i < 8; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// Kind is Video.
func (*AV1) Kind() Kind { return Video }

// Codec is "AV1".
func (*AV1) Codec() string { return "AV1" }

// CodecString is av01 with profile, level, tier and bit depth (binding §5).
func (p *AV1) CodecString() string {
	tier, depth := "M", 8
	if p.Config[2]&0x80 != 0 {
		tier = "H"
	}
	switch {
	case p.Config[2]&0x60 == 0x60:
		depth = 12
	case p.Config[2]&0x40 != 0:
		depth = 10
	}
	return fmt.Sprintf("av01.%d.%02d%s.%02d", p.Config[1]>>5, p.Config[1]&0x1f, tier, depth)
}

// Equal compares the records byte by byte.
func (p *AV1) Equal(o Params) bool {
	q, ok := o.(*AV1)
	return ok && p.Pose == q.Pose && bytes.Equal(p.Config, q.Config)
}

// Size is the largest picture size in pixels.
func (p *AV1) Size() (width, height int) { return p.width, p.height }

// DisplaySize is the size in square pixels, turned as it is shown.
func (p *AV1) DisplaySize() (width, height int) { return p.shown(p.width, p.height, 0, 0) }

// FrameRate is what the timing information states, or 0.
func (p *AV1) FrameRate() float64 { return p.frameRate }

func (*AV1) sealed() {}
