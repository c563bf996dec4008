package media

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
)

// VP9 are the parameters of a VP9 track: its VPCodecConfigurationRecord ("VP Codec ISO Media
// File Format Binding" §2.2) without initialization data, which VP9 has none of, and the
// picture size, which the record does not say.
type VP9 struct {
	Config []byte

	width, height int
}

// vp9Record is the record's length in bytes: profile, level, depth with subsampling and range,
// primaries, transfer, matrix, and 16 bits that say 0.
const vp9Record = 8

// vp9Box are the version and flags before the record in a file's vpcC box.
var vp9Box = []byte{1, 0, 0, 0}

var errVP9 = errors.New("VP9: malformed codec configuration")

// NewVP9 checks a configuration record and a picture size in pixels. Some encoders send the
// whole box's body, with version and flags before the record; that is taken too. A level that is
// not given is derived from the size.
func NewVP9(config []byte, width, height int) (*VP9, error) {
	if len(config) == len(vp9Box)+vp9Record && bytes.HasPrefix(config, vp9Box) {
		config = config[len(vp9Box):]
	}
	if len(config) != vp9Record || config[0] > 3 || config[6] != 0 || config[7] != 0 {
		return nil, errVP9
	}
	if depth := config[2] >> 4; depth != 8 && depth != 10 && depth != 12 {
		return nil, fmt.Errorf("%w: %d bits a sample", errVP9, depth)
	}
	if width < 1 || height < 1 || width > math.MaxUint16 || height > math.MaxUint16 {
		return nil, fmt.Errorf("%w: %d×%d pixels", errVP9, width, height)
	}
	p := &VP9{Config: bytes.Clone(config), width: width, height: height}
	if p.Config[1] == 0 {
		p.Config[1] = vp9Level(width * height)
	}
	return p, nil
}

// ErrVP9Frame is returned for bytes that begin no VP9 frame.
var ErrVP9Frame = errors.New("VP9: malformed frame")

// VP9Frame reads the header of a frame, or of the first one of a superframe (VP9 bitstream
// specification §6.2): whether it can be decoded by itself, and then its size in pixels.
func VP9Frame(b []byte) (key bool, width, height int, err error) {
	var h vp9.Header
	if err := h.Unmarshal(b); err != nil {
		return false, 0, 0, fmt.Errorf("%w: %w", ErrVP9Frame, err)
	}
	if h.ShowExistingFrame || h.NonKeyFrame {
		return false, 0, 0, nil
	}
	return true, h.Width(), h.Height(), nil
}

// vp9Levels are the levels with the luma samples of a picture that each allows (VP9 bitstream
// specification, annex A), of those with one number of samples the one for 60 pictures a second.
var vp9Levels = []struct {
	level   byte
	samples int
}{{10, 36864}, {11, 73728}, {20, 122880}, {21, 245760}, {31, 552960}, {40, 983040}, {41, 2228224}, {51, 8912896}, {61, 35651584}}

func vp9Level(samples int) byte {
	for _, l := range vp9Levels {
		if samples <= l.samples {
			return l.level
		}
	}
	return 62
}

// Kind is Video.
func (*VP9) Kind() Kind { return Video }

// Codec is "VP9".
func (*VP9) Codec() string { return "VP9" }

// CodecString is vp09 with profile, level, bit depth, subsampling, the three of colour, and
// range (binding §3).
func (p *VP9) CodecString() string {
	c := p.Config
	return fmt.Sprintf("vp09.%02d.%02d.%02d.%02d.%02d.%02d.%02d.%02d", c[0], c[1], c[2]>>4, c[2]>>1&7, c[3], c[4], c[5], c[2]&1)
}

// Equal compares the records byte by byte, and the sizes.
func (p *VP9) Equal(o Params) bool {
	q, ok := o.(*VP9)
	return ok && bytes.Equal(p.Config, q.Config) && p.width == q.width && p.height == q.height
}

// Size is the picture's in pixels.
func (p *VP9) Size() (width, height int) { return p.width, p.height }

// FrameRate is 0: neither the record nor a frame states it.
func (*VP9) FrameRate() float64 { return 0 }

func (*VP9) sealed() {}
