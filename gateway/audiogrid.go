package gateway

import (
	"math"
	"time"

	"klive/infra/media"
)

const (
	// gridBreak is the error beyond which the source has a gap or an overlap, not jitter.
	gridBreak = 100 * time.Millisecond
	// A source that is off by more than gridStep for gridRun frames in a row has lost or
	// repeated frames.
	gridStep = 15 * time.Millisecond
	gridRun  = 12
	// gridSlack is the error that is left alone in a source without drift, so that one whose
	// times are rounded to milliseconds is never corrected; driftSlack that in a source that
	// has to be corrected anyway.
	gridSlack  = 600 * time.Microsecond
	driftSlack = 50 * time.Microsecond
	// gridLearn is the number of frames after which the filter knows the error, driftLearn
	// that after which it knows the drift, when that is above leastDrift.
	gridLearn  = 50
	driftLearn = 300
	leastDrift = 30e-6
	// gridMemory is how many frames the filter looks back: 46 s of AAC at 44.1 kHz.
	gridMemory = 2000
	// perFrame is how many samples a frame has, roughly.
	perFrame = 1024
	// maxDrift bounds the drift that the filter believes in, as a ratio.
	maxDrift = 500e-6
)

// audioGrid puts the frames of one audio track on an exact grid of samples, counted from
// the Unix epoch. Source times only steer it: their rounding and jitter are filtered out,
// and the drift between the source's clock and its samples is followed by at most one
// sample a frame.
type audioGrid struct {
	rate  uint32
	valid bool
	next  int64 // the sample where the next frame begins, unless it is steered
	floor int64 // nothing may begin before this sample

	// The filter fits a line through the errors of the source against a grid that is never
	// corrected (alpha-beta filter whose gains are those of least squares until gridMemory).
	seen         int
	error, slope float64 // samples, samples per frame
	corrected    int64   // samples by which the grid has been corrected since the fit began
	drifts       bool    // the source has to be followed

	overlap bool // frames are being dropped
	run     int  // frames in a row that are off in the same direction; its sign says which
	runSum  float64
}

// newAudioGrid returns a grid that goes on after another one, whose rate may be 0.
func newAudioGrid(rate uint32, after *audioGrid) audioGrid {
	g := audioGrid{rate: rate}
	if after.rate != 0 {
		g.floor = after.end().Add(time.Second / time.Duration(rate)).Ticks(rate)
	}
	return g
}

// leave ends the run of frames: the next one begins wherever the source says, but not
// before the end of the last.
func (g *audioGrid) leave() {
	if g.valid {
		g.valid, g.floor = false, g.next
	}
}

// place returns where a frame of so many samples begins, for the source's idea of it. ok is
// false when the frame lies before what is already there and has to be dropped.
func (g *audioGrid) place(source media.Time, samples int) (start media.Time, ok bool) {
	exact := float64(source-media.TimeFromTicks(g.next, g.rate)) * float64(g.rate) / 1e9
	switch {
	case !g.valid && source.Ticks(g.rate) < g.floor-int64(samples)/2:
		return 0, false
	case !g.valid:
		g.restart(max(g.floor, g.after(source)))
	case g.overlap && exact < -float64(samples)/2:
		return 0, false
	case exact < -g.samples(gridBreak):
		g.overlap = true
		return 0, false
	case g.overlap || exact > g.samples(gridBreak):
		g.restart(max(g.next, g.after(source)))
	default:
		if g.stepped(exact) {
			return g.placeStep(samples)
		}
		g.steer(exact)
	}
	start = media.TimeFromTicks(g.next, g.rate)
	g.next += int64(samples)
	return start, true
}

// end is where the last frame ends.
func (g *audioGrid) end() media.Time { return media.TimeFromTicks(g.next, g.rate) }

// after is the first sample that is not before t: a frame that has a picture's time must
// not come before the segment that the picture begins, but for that picture's [nudge].
func (g *audioGrid) after(t media.Time) int64 {
	n := t.Ticks(g.rate)
	if media.TimeFromTicks(n, g.rate) < t {
		n++
	}
	return n
}

func (g *audioGrid) restart(at int64) {
	*g = audioGrid{rate: g.rate, valid: true, next: at}
}

// steer feeds the filter and moves the grid by at most one sample.
func (g *audioGrid) steer(exact float64) {
	measured := exact + float64(g.corrected)
	g.seen++
	k := float64(min(g.seen+1, gridMemory))
	alpha, beta := 2*(2*k-1)/(k*(k+1)), 6/(k*(k+1))
	predicted := g.error + g.slope
	residual := measured - predicted
	g.error = predicted + alpha*residual
	g.slope = min(max(g.slope+beta*residual, -maxDrift*perFrame), maxDrift*perFrame)
	if g.seen < gridLearn {
		return
	}
	off, slack := g.error-float64(g.corrected), g.samples(gridSlack)
	g.drifts = g.drifts || math.Abs(off) > slack || g.seen >= driftLearn && math.Abs(g.slope) > leastDrift*perFrame
	if g.drifts {
		slack = g.samples(driftSlack)
	}
	switch {
	case off > slack:
		g.next++
		g.corrected++
	case off < -slack:
		g.next--
		g.corrected--
	}
}

// stepped reports whether the source has been off in one direction for so long that frames
// must be missing or repeated.
func (g *audioGrid) stepped(exact float64) bool {
	sign := 0
	if limit := g.samples(gridStep); exact > limit {
		sign = 1
	} else if exact < -limit {
		sign = -1
	}
	if sign == 0 || sign*g.run < 0 {
		g.run, g.runSum = 0, 0
	}
	if sign == 0 {
		return false
	}
	g.run += sign
	g.runSum += exact
	return g.run == gridRun || g.run == -gridRun
}

// placeStep moves the grid to where the last frames say it is. A step back can't be made
// good by moving, so frames are dropped until the source has caught up.
func (g *audioGrid) placeStep(samples int) (media.Time, bool) {
	step := int64(g.runSum / gridRun)
	if step < 0 {
		g.overlap, g.run, g.runSum = true, 0, 0
		return 0, false
	}
	g.restart(g.next + step)
	start := g.end()
	g.next += int64(samples)
	return start, true
}

func (g *audioGrid) samples(d time.Duration) float64 { return d.Seconds() * float64(g.rate) }
