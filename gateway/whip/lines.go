package whip

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
)

const (
	// ticks is the rate of a session's common time line: the least that both 90 kHz and 48 kHz
	// go into.
	ticks = 720_000
	// origin is where it begins: no track is ever before zero.
	origin = 1 << 48
	// slew is the part of the time that goes by in which a track's error may be made good: 4 %
	// are not seen, and make an offset of 100 ms good within 3 s.
	slew = 25
	// slack is an error that is left alone: sender reports are exact to about a millisecond.
	slack = ticks / 1000
	// maxSkew is the largest error that is believed. Some sources give each track a clock of its
	// own.
	maxSkew = 5 * ticks
	// farStep is a step of a track's time beyond which it is compared with the arrival, and
	// farOff the difference at which its clock counts as set anew.
	farStep, farOff = 10 * time.Second, 5 * time.Second
)

// lines puts the tracks of one session on a common time line. A track begins where it arrives.
// From the sender reports of a track of sound and one of pictures (RFC 3550 §6.4.1) follows what
// belongs together: pictures are slewed there, sound never moves. Without sound, layers of
// pictures are held against the first of them.
type lines struct {
	begun time.Time

	mu    sync.Mutex // guards the field below, and the lines
	fixed *line      // what the others are held against
}

// line is the time of one track.
type line struct {
	set   *lines
	rate  int64
	sound bool

	started bool
	newest  int64 // unwrapped RTP time
	arrival time.Time
	offset  int64 // common ticks minus those of the track's own time
	report  senderReport
}

// senderReport is one: RTP time and wall clock of one instant.
type senderReport struct {
	valid bool
	time  int64 // unwrapped RTP time
	wall  int64 // ns
}

func newLines(now time.Time) *lines { return &lines{begun: now} }

func (s *lines) add(rate uint32, sound bool) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &line{set: s, rate: int64(rate), sound: sound}
	if s.fixed == nil || sound && !s.fixed.sound {
		s.fixed = l
	}
	return l
}

// scale turns the track's own ticks into common ones.
func (l *line) scale(own int64) int64 { return own * (ticks / l.rate) }

// at is the common time of an RTP time that arrived now.
func (l *line) at(rtp uint32, now time.Time) uint64 {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	own := l.newest + int64(int32(rtp-uint32(l.newest)))
	step := own - l.newest
	if l.started && l.jumped(step, now) {
		l.started, l.report = false, senderReport{}
	}
	switch {
	case !l.started:
		l.started = true
		l.offset = origin + int64(now.Sub(l.set.begun))*ticks/int64(time.Second) - l.scale(own)
	case !l.sound && l != l.set.fixed:
		l.steer(l.scale(max(step, 0)))
	}
	if step > 0 || l.arrival.IsZero() {
		l.newest, l.arrival = own, now
	}
	return uint64(l.scale(own) + l.offset)
}

// jumped reports whether the track's clock was set anew.
func (l *line) jumped(step int64, now time.Time) bool {
	d := time.Duration(step) * time.Second / time.Duration(l.rate)
	return d.Abs() > farStep && (d-now.Sub(l.arrival)).Abs() > farOff
}

// steer moves a track of pictures towards where the reports put it against the fixed one; passed
// is what has gone by since the last picture.
func (l *line) steer(passed int64) {
	a := l.set.fixed
	if !a.started || !a.report.valid || !l.report.valid {
		return
	}
	// The common time of the picture's report, by its own line and by the fixed one.
	between := (l.report.wall - a.report.wall) * ticks / int64(time.Second)
	want := a.scale(a.report.time) + a.offset + between
	off := want - (l.scale(l.report.time) + l.offset)
	if off > maxSkew || off < -maxSkew {
		return
	}
	limit := passed / slew
	switch {
	case off > slack:
		l.offset += min(off, limit)
	case off < -slack:
		l.offset += max(off, -limit)
	}
}

// heard takes a sender report.
func (l *line) heard(r *rtcp.SenderReport) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if !l.started || r.NTPTime == 0 {
		return
	}
	l.report = senderReport{valid: true, time: l.newest + int64(int32(r.RTPTime-uint32(l.newest))), wall: ntpNanos(r.NTPTime)}
}

// ntpNanos turns an NTP time into nanoseconds of some era: only differences count.
func ntpNanos(t uint64) int64 {
	return int64(t>>32)*int64(time.Second) + int64((t&0xffffffff)*uint64(time.Second)>>32)
}
