package packager

import "time"

const (
	// stopGrace is how long a stop waits for the last parts of feeds that are being closed.
	stopGrace = 300 * time.Millisecond
	// handOverGrace is what a hand-over may last beyond the target duration.
	handOverGrace = 2 * time.Second
	// longestTarget is the target duration where none is known.
	longestTarget = 12 * time.Second
)

// leaving is how far a Stop or a HandOver has come. It belongs to the loop.
type leaving struct {
	// asked is when it was seen first; zero while nobody asked.
	asked    time.Time
	handOver bool
	adopted  int // the items adopted until then
	// all says that what is complete must be adopted without waiting for more, over that
	// nothing more is to be adopted.
	all, over bool
	// deadline is when a hand-over ends, whatever has been written; zero for a stop.
	deadline time.Time
}

// late reports whether the time of a hand-over is up.
func (l *leaving) late(now time.Time) bool { return !l.deadline.IsZero() && !now.Before(l.deadline) }

// look folds in what Stop and HandOver asked for.
func (p *Packager) look(l *leaving, now time.Time) {
	p.mu.Lock()
	stop, handOver := p.stop, p.handOver
	p.mu.Unlock()
	if l.asked.IsZero() && (stop || handOver) {
		l.asked, l.adopted, l.handOver = now, p.adopted, handOver && !stop
		if l.handOver {
			l.deadline = now.Add(p.target() + handOverGrace)
		}
	}
	switch {
	case l.asked.IsZero() || l.over:
	case l.handOver:
		// What is open stays on the media plane; the next owner begins with it.
		l.over = p.adopted > l.adopted || !p.gathering(now)
	case l.all:
		l.over = true // what was complete has been adopted since
	default:
		l.all = now.Sub(l.asked) >= stopGrace || !p.unfinished()
	}
}

// target is the broadcast's target duration, or the longest there is.
func (p *Packager) target() time.Duration {
	if p.end.target > 0 {
		return time.Duration(p.end.target) * time.Second
	}
	return longestTarget
}

// unfinished reports whether a segment is being gathered.
func (p *Packager) unfinished() bool {
	for _, f := range p.feeds {
		if f.open != nil {
			return true
		}
	}
	return false
}

// gathering reports whether an item is to be expected.
func (p *Packager) gathering(now time.Time) bool {
	for _, f := range p.feeds {
		if len(f.ready) > 0 || f.open != nil || f.flowing(now, p.FailoverAfter) {
			return true
		}
	}
	return len(p.backlog) > 0
}

// drain waits until the writer has written what it was given, at the longest until the
// hand-over's deadline.
func (p *Packager) drain(w *writer, l *leaving, ended bool) error {
	close(w.jobs)
	var late <-chan time.Time
	if !l.deadline.IsZero() {
		t := time.NewTimer(time.Until(l.deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-w.done:
	case <-late:
		p.log.Warn("the hand-over's time is up; the next owner finishes what is being written")
		return ErrStopped
	}
	if w.err == nil && !ended {
		return ErrStopped
	}
	return w.err
}
