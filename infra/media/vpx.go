package media

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
)

var errVP8 = errors.New("VP8: not a keyframe")

// VP8 are the parameters of a VP8 track: the size in its keyframes (RFC 6386 §9.1). Players of
// HLS and DASH take none of it, so it is a source for encoded rungs alone.
type VP8 struct {
	Pose

	Width, Height int
}

// vp8Head is how long the header of a keyframe is, in bytes.
const vp8Head = 10

// NewVP8 reads the header of a keyframe.
func NewVP8(keyframe []byte) (*VP8, error) {
	b := keyframe
	if len(b) < vp8Head || b[0]&1 != 0 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return nil, errVP8
	}
	p := &VP8{Width: (int(b[6]) | int(b[7])<<8) & 0x3fff, Height: (int(b[8]) | int(b[9])<<8) & 0x3fff}
	if p.Width == 0 || p.Height == 0 {
		return nil, fmt.Errorf("%w: it has no size", errVP8)
	}
	return p, nil
}

// Kind is Video.
func (*VP8) Kind() Kind { return Video }

// Codec is "VP8".
func (*VP8) Codec() string { return "VP8" }

// CodecString is vp08 with profile 0, no stated level and 8 bits ("VP Codec ISO Media File Format
// Binding").
func (*VP8) CodecString() string { return "vp08.00.10.08" }

// Equal compares the sizes.
func (p *VP8) Equal(o Params) bool {
	q, ok := o.(*VP8)
	return ok && *p == *q
}

// Size is the picture size in pixels.
func (p *VP8) Size() (width, height int) { return p.Width, p.Height }

// DisplaySize is the size in square pixels, turned as it is shown.
func (p *VP8) DisplaySize() (width, height int) { return p.shown(p.Width, p.Height, 0, 0) }

// FrameRate is 0: VP8 states none.
func (*VP8) FrameRate() float64 { return 0 }

func (*VP8) sealed() {}

// VP9 are the parameters of a VP9 track: what its VPCodecConfigurationRecord says ("VP Codec ISO
// Media File Format Binding"), and its size.
type VP9 struct {
	Pose

	// Profile is 0 to 3, Level ten times the level, Depth 8, 10 or 12 bits.
	Profile, Level, Depth byte
	// Chroma is 0 or 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
	Chroma        byte
	FullRange     bool
	Width, Height int
}

// NewVP9 reads the header of a keyframe (VP9 bitstream specification §6.2), or of a superframe that
// begins with one.
func NewVP9(keyframe []byte) (*VP9, error) {
	var h vp9.Header
	if err := h.Unmarshal(keyframe); err != nil {
		return nil, fmt.Errorf("VP9: %w", err)
	}
	if h.ColorConfig == nil || h.FrameSize == nil {
		return nil, errors.New("VP9: not a keyframe")
	}
	c := h.ColorConfig
	p := &VP9{Profile: h.Profile, Depth: c.BitDepth, FullRange: c.ColorRange, Width: h.Width(), Height: h.Height()}
	switch {
	case c.SubsamplingX && c.SubsamplingY:
		p.Chroma = 1
	case c.SubsamplingX:
		p.Chroma = 2
	default:
		p.Chroma = 3
	}
	p.Level = vp9Level(p.Width * p.Height)
	return p, p.Check()
}

// vp9Level is the lowest level for pictures of so many pixels: rates are not stated.
func vp9Level(pixels int) byte {
	for _, l := range [...]struct {
		level  byte
		pixels int
	}{{10, 36864}, {11, 73728}, {20, 122880}, {21, 245760}, {30, 552960}, {31, 983040}, {40, 2228224}, {50, 8912896}} {
		if pixels <= l.pixels {
			return l.level
		}
	}
	return 60
}

// Check reports values that no VP9 track has.
func (p *VP9) Check() error {
	if p.Profile > 3 || p.Depth != 8 && p.Depth != 10 && p.Depth != 12 || p.Chroma > 3 ||
		p.Width < 1 || p.Width > 1<<16 || p.Height < 1 || p.Height > 1<<16 {
		return fmt.Errorf("VP9: a track of profile %d with %d bits and %dx%d pixels", p.Profile, p.Depth, p.Width, p.Height)
	}
	return nil
}

// Kind is Video.
func (*VP9) Kind() Kind { return Video }

// Codec is "VP9".
func (*VP9) Codec() string { return "VP9" }

// CodecString is vp09 with profile, level and bit depth.
func (p *VP9) CodecString() string {
	return fmt.Sprintf("vp09.%02d.%02d.%02d", p.Profile, p.Level, p.Depth)
}

// Equal compares all fields.
func (p *VP9) Equal(o Params) bool {
	q, ok := o.(*VP9)
	return ok && *p == *q
}

// Size is the picture size in pixels.
func (p *VP9) Size() (width, height int) { return p.Width, p.Height }

// DisplaySize is the size in square pixels, turned as it is shown.
func (p *VP9) DisplaySize() (width, height int) { return p.shown(p.Width, p.Height, 0, 0) }

// FrameRate is 0: VP9 states none.
func (*VP9) FrameRate() float64 { return 0 }

func (*VP9) sealed() {}
