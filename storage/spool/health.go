package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// health is what is known of the store. Spool.mu guards it.
type health struct {
	away  bool
	since time.Time
	cause error
	// patience is how long a write may last, beside the stretch for its body, before the store
	// counts as away.
	patience time.Duration
	// probing is set while one attempt finds out whether the store is back; nextProbe is when
	// the next one may, pause what is waited for it, probes how many have failed.
	probing   bool
	nextProbe time.Time
	pause     time.Duration
	probes    int
	// nextTrial is when a write may be let through to find out.
	nextTrial time.Time
	// back is when the store last answered again.
	back time.Time
	news news
}

// The pauses between probes, and how often a write is let through as one when nothing is spooled.
const (
	firstPause = 250 * time.Millisecond
	mostPause  = 3 * time.Second
	trialEvery = time.Second
)

// errSlow is why a store is away that does not answer; errOthers is why a write is ended when
// another one has found that out.
var (
	errSlow   = errors.New("it does not answer in time")
	errOthers = errors.New("another write found the store to be away")
)

// slowest is how long one attempt with a body of size bytes may last at all.
func (s *Spool) slowest(size int64) time.Duration { return mostPatience*s.cfg.After + stretch(size) }

// stretch is the time that a body of this many bytes adds, at the slowest rate that counts as
// working.
func stretch(size int64) time.Duration {
	return time.Duration(float64(size) / slowestRate * float64(time.Second))
}

// relapse is how soon after the store was back its next failure continues the same outage: a
// full disk takes small objects and no large ones.
const relapse = 10 * time.Second

// well notes a write of size bytes, begun then, that the store has answered. s.mu is held.
func (s *Spool) well(began time.Time, size int64) {
	h, now := &s.health, time.Now()
	d := now.Sub(began) - stretch(size)
	h.patience = min(max(2*d, h.patience*3/4, leastPatience*s.cfg.After), s.slowest(0))
	if !h.away {
		return
	}
	if !began.After(h.since) && !errors.Is(h.cause, errSlow) {
		return // it was on its way when another one failed, and says nothing of what came after
	}
	h.news.back(s, now)
	*h = health{patience: h.patience, pause: h.pause, back: now, news: h.news}
	s.nudge()
}

// ill notes a write that failed. Other writes that are on their way are ended. s.mu is held.
func (s *Spool) ill(err error) {
	h := &s.health
	h.cause = err
	if errors.Is(err, errSlow) {
		h.patience = min(2*h.patience, s.slowest(0))
	}
	now := time.Now()
	if h.away {
		h.news.still(s, err, now)
		return
	}
	h.away, h.since, h.probes, h.nextTrial = true, now, 0, now
	if h.back.IsZero() || now.Sub(h.back) >= relapse {
		h.pause, h.news = 0, news{}
	}
	h.news.still(s, err, now)
	for w := range s.writes {
		w.cancel(errOthers)
	}
	s.postpone(now)
	s.nudge()
}

// postpone sets when the store is tried next, later each time. s.mu is held.
func (s *Spool) postpone(now time.Time) {
	h := &s.health
	h.pause = min(max(2*h.pause, firstPause), mostPause)
	h.nextProbe = now.Add(h.pause*3/4 + rand.N(h.pause/2)) // so that nodes don't ask all at once
}

// isAway is the error of writes while the store is away. s.mu is held.
func (s *Spool) isAway() error {
	return fmt.Errorf("%w since %s: %w", ErrAway, s.health.since.UTC().Format(time.RFC3339), s.health.cause)
}
