package whip

import (
	"sync"
	"sync/atomic"
	"time"

	"klive/gateway"
	"klive/infra/media"
)

const (
	// startWithin is how long the start waits for reports that tell how sound and pictures lie to
	// each other. Chromium reports sound only after 1.6 s, and then little that is new: the packets that
	// came quickest within a second were 6 to 9 ms off.
	startWithin = 500 * time.Millisecond
	// maxStart bounds what waits in bytes, each access unit with handedCost: beyond it the start
	// waits no longer.
	maxStart   = 8 << 20
	handedCost = 256
)

// handed is what a depacketizer hands on: parameters, or an access unit.
type handed struct {
	t       *track
	params  media.Params // nil for an access unit
	time    uint32       // RTP time
	key     bool
	payload []byte
	came    time.Time
}

func (u *handed) deliver() error {
	if u.params != nil {
		return u.t.to.setTrack(media.Track{ID: u.t.id, Params: u.params})
	}
	return u.t.to.write(u)
}

// accessUnit is what the gateway gets of it: its time is asked for when it is used, and not before.
func (u *handed) accessUnit() gateway.AccessUnit {
	return gateway.AccessUnit{Track: u.t.id, Time: u.t.line.at(u.time, u.came), Key: u.key, Came: u.came, Payload: u.payload}
}

// start holds back what the tracks of a session bring at first, until each of them has its place
// on the common time line. It loses nothing. What comes later passes it untouched; so does
// everything in a session that need not wait, the zero start.
type start struct {
	waiting atomic.Bool

	mu    sync.Mutex // guards the fields below, and the order of what is let go
	list  []handed
	bytes int
	first time.Time // when the first of it came
}

// pass hands on what a track brings, or keeps it.
func (s *start) pass(lines *lines, u *handed) error {
	if !s.waiting.Load() {
		return u.deliver()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting.Load() {
		return u.deliver()
	}
	if s.first.IsZero() {
		s.first = u.came
	}
	s.list = append(s.list, *u)
	s.bytes += len(u.payload) + handedCost
	if s.bytes < maxStart && !lines.told() && u.came.Sub(s.first) < startWithin {
		return nil
	}
	return s.release(lines)
}

// expire ends the wait when its time is over.
func (s *start) expire(lines *lines, now time.Time) error {
	if !s.waiting.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() || now.Sub(s.first) < startWithin && !lines.told() {
		return nil
	}
	return s.release(lines)
}

// end lets go what still waits when nothing more comes.
func (s *start) end(lines *lines) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(lines)
}

// release lets everything go, in the order in which it came.
func (s *start) release(lines *lines) error {
	defer s.waiting.Store(false)
	lines.fix()
	list := s.list
	s.list = nil
	for i := range list {
		if err := list[i].deliver(); err != nil {
			return err
		}
	}
	return nil
}
