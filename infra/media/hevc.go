package media

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// HEVC are the parameter sets of an H.265 track (ITU-T H.265 §7.3.2). Each NAL unit
// stands without start code and length.
type HEVC struct {
	Pose

	VPS, SPS, PPS [][]byte

	sps h265.SPS
}

// NewHEVC checks the parameter sets and reads the first SPS.
func NewHEVC(vps, sps, pps [][]byte) (*HEVC, error) {
	if len(vps) == 0 || len(sps) == 0 || len(pps) == 0 {
		return nil, fmt.Errorf("HEVC: %w", ErrNoParameterSets)
	}
	p := &HEVC{VPS: vps, SPS: sps, PPS: pps}
	if err := p.sps.Unmarshal(sps[0]); err != nil {
		return nil, fmt.Errorf("HEVC SPS: %w", err)
	}
	return p, nil
}

// Kind is Video.
func (*HEVC) Kind() Kind { return Video }

// Codec is "HEVC".
func (*HEVC) Codec() string { return "HEVC" }

// CodecString is hvc1 with profile, compatibility, tier, level and constraints as
// ISO/IEC 14496-15 annex E says.
func (p *HEVC) CodecString() string {
	ptl := p.sps.ProfileTierLevel
	var compat uint32
	for i, f := range ptl.GeneralProfileCompatibilityFlag {
		if f {
			compat |= 1 << uint(31-i)
		}
	}
	tier := "L"
	if ptl.GeneralTierFlag != 0 {
		tier = "H"
	}
	space := []string{"", "A", "B", "C"}[ptl.GeneralProfileSpace&3]
	var b strings.Builder
	fmt.Fprintf(&b, "hvc1.%s%d.%X.%s%d", space, ptl.GeneralProfileIdc, bits.Reverse32(compat), tier, ptl.GeneralLevelIdc)
	// The six constraint bytes follow the profile flags in the SPS; trailing zero bytes are left out.
	c := constraintBytes(p.SPS[0])
	for len(c) > 0 && c[len(c)-1] == 0 {
		c = c[:len(c)-1]
	}
	for _, v := range c {
		fmt.Fprintf(&b, ".%X", v)
	}
	return b.String()
}

// constraintBytes returns general_progressive_source_flag and the 47 bits after it. They
// are bytes 8 to 13 of the SPS: two header bytes, one byte of sub-layer fields, one of
// profile, four of compatibility flags (H.265 §7.3.2.2, §7.3.3), after emulation
// prevention is undone.
func constraintBytes(sps []byte) []byte {
	raw := h264.EmulationPreventionRemove(sps) // the same in H.265
	if len(raw) < 14 {
		return nil
	}
	return raw[8:14]
}

// Equal compares the parameter sets byte by byte.
func (p *HEVC) Equal(o Params) bool {
	q, ok := o.(*HEVC)
	return ok && p.Pose == q.Pose && equalSets(p.VPS, q.VPS) && equalSets(p.SPS, q.SPS) && equalSets(p.PPS, q.PPS)
}

// Size is the cropped picture size in pixels.
func (p *HEVC) Size() (width, height int) { return p.sps.Width(), p.sps.Height() }

// DisplaySize is the picture's size in square pixels, turned as it is shown.
func (p *HEVC) DisplaySize() (width, height int) {
	x, y := 0, 0
	if v := p.sps.VUI; v != nil && v.AspectRatioInfoPresentFlag {
		x, y = pixelAspect(v.AspectRatioIdc, v.SarWidth, v.SarHeight)
	}
	w, h := p.Size()
	return p.shown(w, h, x, y)
}

// FrameRate is the VUI's rate, or 0.
func (p *HEVC) FrameRate() float64 { return saneRate(p.sps.FPS()) }

func (*HEVC) sealed() {}
