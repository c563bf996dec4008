package media

import "math"

// Pose is what a container says of how a track's pictures are to be shown, beside what the codec's
// own parameters say. It is part of the parameters of every video codec; the zero value says
// nothing.
type Pose struct {
	// Turns is by how many quarter turns clockwise pictures are turned to be shown, 0 to 3.
	Turns int
	// ParX to ParY is the aspect ratio of a pixel; 0 to 0 when the container states none.
	ParX, ParY int
}

// maxPar bounds the aspect ratio of a pixel, and of its terms.
const (
	maxPar     = 8
	maxParTerm = 1 << 16
)

// NewPose returns the pose of a container's values; those that are odd count as not stated.
func NewPose(turns, parX, parY int) Pose {
	p := Pose{Turns: turns & 3}
	if parX > 0 && parY > 0 && parX <= maxParTerm && parY <= maxParTerm && parX <= maxPar*parY && parY <= maxPar*parX && parX != parY {
		p.ParX, p.ParY = parX, parY
	}
	return p
}

// Posed returns how pictures are to be shown.
func (p *Pose) Posed() Pose { return *p }

// shown is the size of a picture in square pixels, as it is shown. parX to parY is what the codec's
// parameters say of a pixel, 0 to 0 when nothing; the container's word is the later one.
func (p *Pose) shown(width, height, parX, parY int) (w, h int) {
	if p.ParX > 0 {
		parX, parY = p.ParX, p.ParY
	}
	w, h = width, height
	if parX > 0 && parY > 0 {
		w = int(math.Round(float64(width) * float64(parX) / float64(parY)))
	}
	if p.Turns&1 == 1 {
		w, h = h, w
	}
	return w, h
}

// WithPose returns the parameters of a video track with a pose; others as they are.
func WithPose(params Params, pose Pose) Params {
	switch p := params.(type) {
	case *H264:
		c := *p
		c.Pose = pose
		return &c
	case *HEVC:
		c := *p
		c.Pose = pose
		return &c
	case *AV1:
		c := *p
		c.Pose = pose
		return &c
	case *VP8:
		c := *p
		c.Pose = pose
		return &c
	case *VP9:
		c := *p
		c.Pose = pose
		return &c
	}
	return params
}
