package push

import (
	"slices"
	"sync"
	"sync/atomic"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/media/ts"
)

const (
	// lateWindow is how far before the newest access unit a segment may begin to count as
	// repeated or late; one that begins earlier comes from an encoder that began anew.
	lateWindow = 60 * ts.Rate
	// maxLate is how many segments in a row are left out as late: an encoder that began anew
	// sends nothing but such.
	maxLate = 2
	// maxSeen is how many addresses a feed remembers, repeats how many segments back one may be
	// to be sent again.
	maxSeen = 256
	repeats = 3
)

// lateness is a feed's memory of what its transport streams have brought.
type lateness struct {
	// mu guards the fields below.
	mu     sync.Mutex
	newest map[media.TrackID]uint64
	broken bool // the last body was cut off: what comes next may begin anew
	run    int  // late segments in a row
	seen   []mark
}

// mark is what is remembered of a segment: its address and a checksum of its beginning.
type mark struct {
	path string
	sum  uint32
}

// anew reports whether a segment shows by its address that the encoder began anew: it has
// been used before, for something else or long ago. It remembers the segment.
func (l *lateness) anew(m mark) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for back, old := range slices.Backward(l.seen) {
		if old.path == m.path {
			found = old.sum != m.sum || len(l.seen)-back > repeats
			break
		}
	}
	if l.seen = append(l.seen, m); len(l.seen) > maxSeen {
		l.seen = slices.Delete(l.seen, 0, len(l.seen)-maxSeen)
	}
	return found
}

// over notes the end of a body.
func (l *lateness) over(whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = !whole
}

// again reports whether a segment that begins with a unit has been here, or comes too late.
func (l *lateness) again(au *gateway.AccessUnit) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest, known := l.newest[au.Track]
	step := ts.Distance(au.Time - newest)
	if !known || l.broken || step > 0 || step < -lateWindow || l.run >= maxLate {
		l.broken, l.run = false, 0
		return false
	}
	l.run++
	return true
}

func (l *lateness) note(au *gateway.AccessUnit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == nil {
		l.newest = map[media.TrackID]uint64{}
	}
	l.newest[au.Track] = au.Time
}

// segment is a publication as one body sees it: a body that repeats what has been sent, or
// comes too late, is left out.
type segment struct {
	gateway.Publication
	late *lateness
	h    *Handler
	path string
	anew bool // it comes from an encoder that began anew

	begun atomic.Bool
	skip  bool
}

// Data implements [gateway.Publication].
func (s *segment) Data(d gateway.Datum) error {
	if s.skip {
		return nil
	}
	return s.Publication.Data(d)
}

// Write implements [gateway.Publication].
func (s *segment) Write(au gateway.AccessUnit) error {
	if !s.begun.Swap(true) && s.path != "" && !s.anew {
		if s.skip = s.late.again(&au); s.skip {
			s.h.metrics.dropped.WithLabelValues("segment").Inc()
			s.h.cfg.Logger.Info("a segment is left out: it was sent before, or comes too late", "path", gateway.Printable(s.path, maxShown))
		}
	}
	if s.skip {
		return nil
	}
	s.late.note(&au)
	return s.Publication.Write(au)
}
