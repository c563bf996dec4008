package media

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// ErrNoParameterSets is returned when a parameter set that a decoder needs is missing.
var ErrNoParameterSets = errors.New("media: parameter sets are missing")

// H264 are the parameter sets of an H.264 track (ITU-T H.264 §7.3.2). Each NAL unit
// stands without start code and length.
type H264 struct {
	Pose

	SPS, PPS [][]byte

	width, height int
	sarX, sarY    int // of a pixel; 0 when not stated
	frameRate     float64
}

// NewH264 checks the parameter sets and reads the first SPS.
func NewH264(sps, pps [][]byte) (*H264, error) {
	if len(sps) == 0 || len(pps) == 0 || len(sps[0]) < 4 {
		return nil, fmt.Errorf("H264: %w", ErrNoParameterSets)
	}
	var s h264.SPS
	if err := s.Unmarshal(sps[0]); err != nil {
		return nil, fmt.Errorf("H264 SPS: %w", err)
	}
	p := &H264{SPS: sps, PPS: pps, width: s.Width(), height: s.Height(), frameRate: saneRate(s.FPS())}
	if v := s.VUI; v != nil && v.AspectRatioInfoPresentFlag {
		p.sarX, p.sarY = pixelAspect(v.AspectRatioIdc, v.SarWidth, v.SarHeight)
	}
	return p, nil
}

// Kind is Video.
func (*H264) Kind() Kind { return Video }

// Codec is "H264".
func (*H264) Codec() string { return "H264" }

// CodecString is avc1.PPCCLL: profile, constraint flags and level of the SPS.
func (p *H264) CodecString() string {
	return fmt.Sprintf("avc1.%02x%02x%02x", p.SPS[0][1], p.SPS[0][2], p.SPS[0][3])
}

// Equal compares the parameter sets byte by byte.
func (p *H264) Equal(o Params) bool {
	q, ok := o.(*H264)
	return ok && p.Pose == q.Pose && equalSets(p.SPS, q.SPS) && equalSets(p.PPS, q.PPS)
}

// Size is the cropped picture size in pixels.
func (p *H264) Size() (width, height int) { return p.width, p.height }

// DisplaySize is the picture's size in square pixels, as [H264.Size] with the width that its
// pixels' aspect ratio makes of it, and turned as it is shown.
func (p *H264) DisplaySize() (width, height int) { return p.shown(p.width, p.height, p.sarX, p.sarY) }

// aspects are the ratios of ITU-T H.264 table E-1, and of H.265's, by aspect_ratio_idc.
var aspects = [...][2]int{{}, {1, 1}, {12, 11}, {10, 11}, {16, 11}, {40, 33}, {24, 11}, {20, 11}, {32, 11}, {80, 33},
	{18, 11}, {15, 11}, {64, 33}, {160, 99}, {4, 3}, {3, 2}, {2, 1}}

// extendedSAR is the aspect_ratio_idc of a ratio that is spelled out.
const extendedSAR = 255

// pixelAspect reads the aspect ratio of a pixel; 0 when it is not stated, or odd.
func pixelAspect(idc uint8, width, height uint16) (x, y int) {
	if idc == extendedSAR {
		x, y = int(width), int(height)
	} else if int(idc) < len(aspects) {
		x, y = aspects[idc][0], aspects[idc][1]
	}
	if x > maxPar*y || y > maxPar*x {
		return 0, 0
	}
	return x, y
}

// FrameRate is the VUI's rate, or 0.
func (p *H264) FrameRate() float64 { return p.frameRate }

func (*H264) sealed() {}

func equalSets(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// saneRate drops frame rates that VUI timing states by mistake: 0 units in a tick of 0 are no number.
func saneRate(fps float64) float64 {
	if fps >= 1 && fps <= 300 {
		return fps
	}
	return 0
}
