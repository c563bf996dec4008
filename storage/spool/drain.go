package spool

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Limits of the attempts to store what is spooled.
const (
	maxDraining   = 4
	maxDrainBytes = 64 << 20
	// stubborn is how often an object may make the store count as away. Then it no longer
	// speaks for the store: it is tried less and less often, and the others go on.
	stubborn     = 3
	mostItemWait = 30 * time.Second
	// lookEvery is how often the loop looks at its objects' ages.
	lookEvery = 10 * time.Second
	// drainCheck is how often Drain looks whether it is done.
	drainCheck = 50 * time.Millisecond
)

// run is the spool's loop: it starts what is due and calls callbacks.
func (s *Spool) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		wait := s.step(time.Now())
		s.call()
		timer.Reset(wait)
	}
}

// step drops what is over budget and starts attempts. It returns when to look again.
func (s *Spool) step(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeFiles(s.overBudget())
	h := &s.health
	for {
		if h.away && (h.probing || s.draining > 0) || s.draining >= maxDraining {
			return lookEvery // the end of an attempt wakes the loop
		}
		if h.away && h.nextProbe.After(now) {
			return min(lookEvery, h.nextProbe.Sub(now))
		}
		it, first := s.shelf.next(now)
		if h.away && h.probes%2 == 1 {
			it = s.shelf.newest() // the oldest may be what the store does not like
		}
		if it == nil {
			if first.IsZero() {
				return lookEvery
			}
			return min(lookEvery, first.Sub(now))
		}
		if s.draining > 0 && s.drainBytes+it.size > maxDrainBytes {
			return lookEvery
		}
		it.busy++
		s.draining++
		s.drainBytes += it.size
		h.probing = h.away
		s.running.Go(func() { s.drain(it) })
	}
}

// call calls the callbacks that are due.
func (s *Spool) call() {
	s.mu.Lock()
	calls := s.calls
	s.calls = nil
	s.mu.Unlock()
	for _, c := range calls {
		c.settled(c.err)
	}
}

// drain tries to store one object.
func (s *Spool) drain(it *item) {
	data, err := it.load(s.cfg.Dir)
	damaged := err
	began := time.Now()
	if err == nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.slowest(it.size))
		_, err = s.cfg.Store.Put(ctx, it.key, [][]byte{data}, it.opt)
		cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining--
	s.drainBytes -= it.size
	s.health.probing = false
	defer s.nudge()
	switch {
	case s.ctx.Err() != nil && !final(err):
		it.busy--
		return
	case damaged != nil:
		s.unreadable(it, damaged)
		return
	case final(err):
		s.well(began, it.size)
	default:
		s.failed(it, err)
	}
	s.tried(it, err)
}

// failed notes an object that the loop could not store. While the store is away that says
// nothing of the object. s.mu is held.
func (s *Spool) failed(it *item, err error) {
	if s.health.away {
		s.health.cause = err
		s.health.probes++
		s.health.news.still(s, err, time.Now())
		s.postpone(time.Now())
		return
	}
	if it.fails++; it.fails <= stubborn {
		s.ill(err)
		return
	}
	it.notBefore = time.Now().Add(min(time.Second<<min(it.fails-stubborn, 5), mostItemWait))
	if it.fails == stubborn+1 { // once for each: a full store has many
		s.log.Warn("spool: an object can't be stored, others go first", "key", it.key, "err", err)
	}
}

// tried notes the end of an attempt to store an item. s.mu is held.
func (s *Spool) tried(it *item, err error) {
	it.busy--
	if it.place == nil {
		return // given up meanwhile
	}
	if final(err) {
		s.settle(it, nil)
		s.removeFile(it)
		s.metrics.drained.Inc()
	}
	s.nudge()
}

// unreadable takes an object off the shelf whose file is damaged or gone. s.mu is held.
func (s *Spool) unreadable(it *item, err error) {
	it.busy--
	if it.place == nil {
		return // given up meanwhile, and its file with it
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.setAside(fileName(it.number), err)
	}
	s.giveUp(it, "damaged")
}
