package live

import "math"

// Fit says how an encoded picture's size follows from the source's. The template of Kaltura
// uses the first three (contract §3.7); the others are the engine's that it was made for.
type Fit string

// The fit modes.
const (
	FitMatchSource Fit = "match-source" // the source's size
	FitHeight      Fit = "fit-height"   // the stated height, the width by the source's aspect ratio
	FitWidth       Fit = "fit-width"    // the stated width, the height by the source's aspect ratio
	FitLetterbox   Fit = "letterbox"    // the stated size, the whole picture in it between bars
	FitCrop        Fit = "crop"         // the stated size, filled; what lies over is cut off
	FitStretch     Fit = "stretch"      // the stated size, whatever becomes of the aspect ratio
)

// maxPixels bounds each side of a picture.
const maxPixels = 16384

// Size is the size in pixels of the encoded picture for a source of the given size. Both
// sides are even, as 4:2:0 needs (contract row 68). Without a source size, 0, an unknown
// side is 0.
func (v VideoRung) Size(width, height int) (int, int) {
	switch {
	case v.Fit == FitHeight && v.Height > 0:
		return side(v.Height, width, height), even(v.Height)
	case v.Fit == FitWidth && v.Width > 0:
		return even(v.Width), side(v.Width, height, width)
	case (v.Fit == FitLetterbox || v.Fit == FitCrop || v.Fit == FitStretch) && v.Width > 0 && v.Height > 0:
		return even(v.Width), even(v.Height)
	}
	return even(width), even(height)
}

// side scales stated by num/den; 0 when the source's size is not known.
func side(stated, num, den int) int {
	if num <= 0 || den <= 0 {
		return 0
	}
	return min(maxPixels, max(2, 2*int(math.Round(float64(stated)*float64(num)/float64(den)/2))))
}

func even(n int) int {
	if n <= 0 {
		return 0
	}
	return min(maxPixels, max(2, n&^1))
}

// Skip is how many frames are left out after each one that is kept, for a source of the given
// frame rate in 1/s; 0 or less is a rate that is not known (contract §3.7, row 71).
func (v VideoRung) Skip(sourceRate float64) int {
	if v.SkipFrames > 0 || v.MaxFrameRate <= 0 || sourceRate <= 0 {
		return v.SkipFrames
	}
	return max(0, int(math.Ceil(sourceRate/v.MaxFrameRate-1.05)))
}

// Rate bounds the encoder: the most in bit/s, and over how many bits that is measured. Without
// bounds of its own a rung gets a tenth above its bitrate, or its bitrate when that is to be
// constant, over one second of it.
func (v VideoRung) Rate() (most, buffer int) {
	most, buffer = v.MaxBitrate, v.BufferSize
	switch {
	case most > 0:
	case v.Constant:
		most = v.Bitrate
	default:
		most = v.Bitrate + v.Bitrate/10
	}
	if buffer <= 0 {
		buffer = v.Bitrate
	}
	return most, buffer
}
