package push

import (
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
)

// lateness is a feed's memory of what its transport streams have brought.
type lateness struct {
	// mu guards the fields below.
	mu     sync.Mutex
	newest map[media.TrackID]uint64
	broken bool // the last body was cut off: what comes next may begin anew
	run    int  // late segments in a row
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
	step := int64((au.Time-newest)<<(64-ts.Bits)) >> (64 - ts.Bits)
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

	begun atomic.Bool
	skip  bool
}

// Write implements [gateway.Publication].
func (s *segment) Write(au gateway.AccessUnit) error {
	if !s.begun.Swap(true) && s.path != "" {
		if s.skip = s.late.again(&au); s.skip {
			s.h.metrics.dropped.WithLabelValues("segment").Inc()
			s.h.cfg.Logger.Info("a segment is left out: it was sent before, or comes too late", "path", shown(s.path))
		}
	}
	if s.skip {
		return nil
	}
	s.late.note(&au)
	return s.Publication.Write(au)
}
