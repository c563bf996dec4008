package mp4

import (
	"slices"

	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// one is 1.0 in a matrix's first two columns.
const one = 1 << 16

// turned are the first two rows a, b, c, d of a track header's matrix (ISO/IEC 14496-12 §6.2.2) by
// quarter turns clockwise.
var turned = [4][4]int32{{one, 0, 0, one}, {0, one, -one, 0}, {-one, 0, 0, -one}, {0, -one, one, 0}}

// writePose puts a track's pose into its header and its sample entry.
func writePose(trak *mp4.TrakBox, v media.VideoParams) {
	pose := v.Posed()
	if pose.ParX > 0 {
		if e := visualEntry(trak.Mdia.Minf.Stbl.Stsd); e != nil {
			e.AddChild(&mp4.PaspBox{HSpacing: uint32(pose.ParX), VSpacing: uint32(pose.ParY)})
		}
	}
	if pose.Turns == 0 {
		return
	}
	w, h := v.Size()
	m, t := mp4.UnityMatrix(), turned[pose.Turns&3]
	m[0], m[1], m[3], m[4] = t[0], t[1], t[2], t[3]
	// The turned picture is moved back to where it has its corner at 0, 0.
	switch pose.Turns & 3 {
	case 1:
		m[6] = int32(h) << 16
	case 2:
		m[6], m[7] = int32(w)<<16, int32(h)<<16
	case 3:
		m[7] = int32(w) << 16
	}
	trak.Tkhd.Matrix = m
}

// poseOf reads a track's pose. Matrices that do more than turn are taken for none.
func poseOf(trak *mp4.TrakBox) media.Pose {
	turns := 0
	if trak.Tkhd != nil {
		m := trak.Tkhd.Matrix
		turns = max(0, slices.Index(turned[:], [4]int32{m[0], m[1], m[3], m[4]}))
	}
	x, y := 0, 0
	if e := visualEntry(trak.Mdia.Minf.Stbl.Stsd); e != nil && e.Pasp != nil && e.Pasp.HSpacing <= one && e.Pasp.VSpacing <= one {
		x, y = int(e.Pasp.HSpacing), int(e.Pasp.VSpacing)
	}
	return media.NewPose(turns, x, y)
}

func visualEntry(stsd *mp4.StsdBox) *mp4.VisualSampleEntryBox {
	for _, e := range []*mp4.VisualSampleEntryBox{stsd.AvcX, stsd.HvcX, stsd.Av01, stsd.VpXX} {
		if e != nil {
			return e
		}
	}
	return nil
}
