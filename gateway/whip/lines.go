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
	// slew is the part of the time that goes by in which an error of pictures may be made good: 4 %
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
	// reportsWithin is how long another layer waits to be told where it lies: senders report
	// each second, give or take a half.
	reportsWithin = 3 * time.Second
	// onePicture is how far the times of a picture's layers may be apart. Pictures come at 4 ms at
	// the least, and keptPictures of them cover what layers arrive apart.
	onePicture   = 2 * slack
	keptPictures = 64
)

// lines puts the tracks of one session on a common time line. Where a track lies is decided once,
// when the first of it is handed on: where the sender's reports (RFC 3550 §6.4.1) put it, else
// where it arrives. Sound never moves from there. Pictures are slewed when reports that come later
// say so, their layers all alike: these are held against the layer that was first, and that one
// against the sound.
type lines struct {
	begun time.Time

	mu     sync.Mutex // guards the fields below, and the lines
	list   []*line
	layers int      // lines of pictures
	sound  *line    // that has a place
	lead   *line    // of the pictures: the first that had a place
	recent []uint64 // times of pictures, where there are layers
	oldest int      // of recent, once it is full
}

// line is the time of one track.
type line struct {
	set   *lines
	rate  int64
	sound bool

	begun   bool      // a packet has come
	since   time.Time // when the first one did
	newest  int64     // unwrapped RTP time
	arrival time.Time // of it
	early   least     // common ticks at arrival minus the track's own
	wall    reports
	before  rtcp.SenderReport // the last that came before the first packet

	placed bool
	offset int64 // common ticks minus the track's own

	asked, given uint64 // of the newest picture of a layer: its time, and the one that it got
}

func newLines(now time.Time) *lines { return &lines{begun: now} }

func (s *lines) add(rate uint32, sound bool) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &line{set: s, rate: int64(rate), sound: sound}
	s.list = append(s.list, l)
	if !sound {
		s.layers++
	}
	return l
}

// told reports whether sound and pictures have come, and reports about all that has.
func (s *lines) told() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sound, pictures := false, false
	for _, l := range s.list {
		if l.begun && !l.wall.known() {
			return false
		}
		sound, pictures = sound || l.begun && l.sound, pictures || l.begun && !l.sound
	}
	return sound && pictures
}

// fix gives the sound that has come its place, so that pictures are held against it.
func (s *lines) fix() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		if l.sound && l.begun && !l.placed {
			l.place()
		}
	}
}

// match gives a picture the time that another layer's has which lies next to it: both are the same
// picture, and segments are to begin with it in all layers. Pictures of one layer may lie as close;
// they stay in order, with times of their own.
func (l *line) match(at uint64) uint64 {
	if at == l.asked {
		return l.given
	}
	s, after := l.set, uint64(0)
	if at > l.asked {
		after = l.given
	}
	found := uint64(0)
	for _, o := range s.recent {
		if d := int64(at - o); d <= onePicture && d >= -onePicture && o > after && (found == 0 || o < found) {
			found = o
		}
	}
	if found == 0 {
		found = max(at, after+1)
		s.remember(found)
	}
	if at > l.asked {
		l.asked, l.given = at, found
	}
	return found
}

// remember keeps a picture's time for the other layers.
func (s *lines) remember(at uint64) {
	if len(s.recent) < keptPictures {
		s.recent = append(s.recent, at)
		return
	}
	s.recent[s.oldest] = at
	s.oldest = (s.oldest + 1) % keptPictures
}

// scale turns the track's own ticks into common ones.
func (l *line) scale(own int64) int64 { return own * (ticks / l.rate) }

// unwrap is the track's own time nearest to the newest.
func (l *line) unwrap(rtp uint32) int64 { return l.newest + int64(int32(rtp-uint32(l.newest))) }

// came notes a packet that has arrived, which need not be the one whose turn it is: until the track
// has its place, those that came quickest tell where that is.
func (l *line) came(rtp uint32, now time.Time) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if !l.placed {
		l.note(rtp, now)
	}
}

func (l *line) note(rtp uint32, now time.Time) {
	if !l.begun {
		l.begun, l.since, l.newest, l.arrival = true, now, int64(rtp), now
		if l.before.NTPTime != 0 {
			l.report(&l.before)
		}
	}
	l.early.add(int64(now.Sub(l.set.begun))*ticks/int64(time.Second)-l.scale(l.unwrap(rtp)), now)
}

// at is the common time of an RTP time that arrived at an instant; the first one gives the
// track its place.
func (l *line) at(rtp uint32, came time.Time) uint64 {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.begun && l.jumped(l.unwrap(rtp)-l.newest, came) {
		l.begun, l.placed, l.wall, l.early, l.before = false, false, reports{}, least{}, rtcp.SenderReport{}
		l.asked, l.given = 0, 0
	}
	l.note(rtp, came)
	own := l.unwrap(rtp)
	step := own - l.newest
	switch {
	case !l.placed:
		l.place()
	case !l.sound:
		l.steer(l.scale(max(step, 0)))
	}
	if own > l.newest {
		l.newest, l.arrival = own, came
	}
	at := uint64(l.scale(own) + l.offset)
	if !l.sound && l.set.layers > 1 {
		return l.match(at)
	}
	return at
}

// jumped reports whether the track's clock was set anew.
func (l *line) jumped(step int64, now time.Time) bool {
	d := time.Duration(step) * time.Second / time.Duration(l.rate)
	return d.Abs() > farStep && (d-now.Sub(l.arrival)).Abs() > farOff
}

// ready reports whether a track can be given its place, as a layer is once reports tell how it lies
// to the first one, or don't come.
func (l *line) ready(now time.Time) bool {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	lead := l.set.lead
	if l.placed || l.sound || lead == nil {
		return true
	}
	_, ok := l.wanted(lead)
	return ok || l.begun && now.Sub(l.since) >= reportsWithin
}

// place gives the track its place: against another one by reports, else by arrival.
func (l *line) place() {
	s, by := l.set, l.against()
	l.placed, l.offset = true, origin+l.early.value()
	if by != nil {
		l.offset = by.offset + l.early.value() - by.early.value()
	}
	if want, ok := l.wanted(by); ok && near(want-l.offset, maxSkew) {
		l.offset = want
	}
	switch {
	case l.sound:
		s.sound = l
	case s.lead == nil:
		s.lead = l
	}
}

// against is what the track is held against; nil when there is nothing.
func (l *line) against() *line {
	by := l.set.lead
	if by == nil || by == l {
		by = l.set.sound
	}
	if by == l || by != nil && !by.placed {
		return nil
	}
	return by
}

// wanted is the offset that puts the track where reports say that it lies to another one.
func (l *line) wanted(by *line) (offset int64, ok bool) {
	if by == nil || !by.wall.known() || !l.wall.known() {
		return 0, false
	}
	return by.offset + l.wall.base() - by.wall.base(), true
}

// steer moves a track of pictures towards where reports put it; passed is what has gone by since
// the last picture. The first layer takes the others along.
func (l *line) steer(passed int64) {
	want, ok := l.wanted(l.against())
	off := want - l.offset
	if !ok || near(off, slack) || !near(off, maxSkew) {
		return
	}
	passed = min(passed, ticks/2) // behind a hole it would take other layers before what they have sent
	move := min(max(off, -passed/slew), passed/slew)
	if l != l.set.lead {
		l.offset += move
		return
	}
	for _, o := range l.set.list {
		if !o.sound {
			o.offset += move
		}
	}
}

func near(off, limit int64) bool { return -limit <= off && off <= limit }

// heard takes a sender report. The first may come before the first packet does.
func (l *line) heard(r *rtcp.SenderReport, now time.Time) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	switch {
	case r.NTPTime == 0:
	case !l.begun:
		l.before = *r
	default:
		l.report(r)
		if own := l.unwrap(r.RTPTime); own > l.newest && !l.jumped(own-l.newest, now) { // of a layer that is not used nothing else tells
			l.newest, l.arrival = own, now
		}
	}
}

func (l *line) report(r *rtcp.SenderReport) {
	l.wall.add(ntpTicks(r.NTPTime) - l.scale(l.unwrap(r.RTPTime)))
}
