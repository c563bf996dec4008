package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"klive/infra/telemetry"
	"klive/storage"
)

// maxBehind bounds the bytes of attempts that go on although their object is on disk.
const maxBehind = 128 << 20

// PutMedia stores an immutable object. With held false and no error it rests in the store.
// With held true it rests on local disk, and settled (which may be nil) is called once,
// later, from a goroutine of the spool's: with nil when the object rests in the store, with
// an error that wraps ErrGivenUp when it was dropped. That call may come before PutMedia has
// returned, must not block, and does not come after Close.
//
// The pieces of data must not be changed afterwards: a slow attempt may still read them.
// ErrPrecondition comes back as the store says it. Any other error means that the object is
// neither in the store nor on local disk, for example with storage.ErrFull.
func (s *Spool) PutMedia(ctx context.Context, key string, data [][]byte, opt storage.PutOptions, settled func(error)) (held bool, err error) {
	if err := storage.CheckKey(key); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	it := &item{key: key, size: sizeOf(data), opt: opt}
	if settled != nil {
		it.settled = []func(error){settled}
	}
	a, held, err := s.begin(it, data)
	if held || err != nil {
		return held, err
	}
	if a == nil {
		return s.hold(it, data, nil)
	}
	timer := time.NewTimer(s.cfg.After)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
		return s.overtake(ctx, a, it, data)
	case <-ctx.Done():
		a.cancel()
		return false, ctx.Err()
	}
	if final(a.err) {
		return false, a.err
	}
	held, err = s.hold(it, data, nil)
	if err != nil {
		err = fmt.Errorf("%w (the store: %w)", err, a.err)
	}
	return held, err
}

// attempt is one try to store an object.
type attempt struct {
	began  time.Time
	size   int64
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed

	// The rest is guarded by Spool.mu.
	ended bool
	item  *item       // the object on disk, when the attempt goes on beside it
	timer *time.Timer // for the spool's patience
}

// begin starts an attempt unless the store is away (then it is nil) or the object is spooled
// already (held).
func (s *Spool) begin(it *item, data [][]byte) (a *attempt, held bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	if old := s.shelf.byKey[it.key]; old != nil {
		old.settled = append(old.settled, it.settled...)
		return nil, true, nil
	}
	if s.health.away {
		return nil, false, nil
	}
	return s.start(it, data), false, nil
}

// start runs an attempt in a goroutine of the spool's, because it may outlast the caller's
// patience. s.mu is held.
func (s *Spool) start(it *item, data [][]byte) *attempt {
	ctx, cancel := context.WithCancel(s.ctx)
	a := &attempt{began: time.Now(), size: it.size, cancel: cancel, done: make(chan struct{})}
	key, opt := it.key, it.opt
	s.running.Go(func() {
		_, err := s.cfg.Store.Put(ctx, key, data, opt)
		cancelled := ctx.Err() != nil
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		a.err, a.ended = err, true
		close(a.done)
		if a.timer != nil {
			a.timer.Stop()
		}
		if final(err) {
			s.well(a.began, a.size)
		} else if !cancelled {
			s.ill(err)
		}
		if a.item != nil {
			s.behind -= a.size
			s.tried(a.item, err)
		}
	})
	return a
}

// overtake puts an object on disk whose attempt takes long, and lets the attempt go on.
func (s *Spool) overtake(ctx context.Context, a *attempt, it *item, data [][]byte) (held bool, err error) {
	s.mu.Lock()
	if !a.ended {
		a.timer = time.AfterFunc(s.health.patience+stretch(a.size)-s.cfg.After, func() { s.impatient(a) })
	}
	s.mu.Unlock()
	held, err = s.hold(it, data, a)
	if err == nil {
		return held, nil
	}
	// There is no room on disk, so the attempt is all that is left.
	select {
	case <-a.done:
		if final(a.err) {
			return false, a.err
		}
		return false, fmt.Errorf("%w (the store: %w)", err, a.err)
	case <-ctx.Done():
		a.cancel()
		return false, errors.Join(ctx.Err(), err)
	}
}

// impatient runs when an attempt has lasted as long as the store is given.
func (s *Spool) impatient(a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ended {
		return
	}
	s.ill(errSlow)
	a.timer = time.AfterFunc(s.slowest(a.size)-time.Since(a.began), a.cancel)
}

// hold puts an object on local disk. The attempt a, if any, goes on and may settle it.
func (s *Spool) hold(it *item, data [][]byte, a *attempt) (held bool, err error) {
	if it.size > s.cfg.MaxBytes {
		return false, fmt.Errorf("%w: %s has %d bytes, more than the spool may hold at all; raise spool.bytes", ErrGivenUp, it.key, it.size)
	}
	if free, err := telemetry.DiskFree(s.cfg.Dir); err == nil && s.cfg.Reserve > 0 && free-it.size < s.cfg.Reserve {
		s.metrics.failures.Inc()
		return false, fmt.Errorf("%w: %s can't be kept on local disk: free space on the disk of %s (%d MiB are free, and klive leaves %d MiB)", storage.ErrFull, it.key, s.cfg.Dir, free>>20, s.cfg.Reserve>>20)
	}
	s.mu.Lock()
	s.shelf.number++
	it.number, it.at = s.shelf.number, time.Now()
	s.shelf.bytes += it.size
	dropped := s.overBudget()
	s.mu.Unlock()
	s.removeFiles(dropped)
	if err := writeFile(s.cfg.Dir, it, data); err != nil {
		s.mu.Lock()
		s.shelf.bytes -= it.size
		s.mu.Unlock()
		s.log.Error("spool: an object can't be kept on this host; free space on the spool's disk", "key", it.key, "err", err)
		s.metrics.failures.Inc()
		return false, fmt.Errorf("spool: %s can't be kept on local disk: %w", it.key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nudge()
	if old := s.shelf.byKey[it.key]; old != nil { // another call was faster
		old.settled = append(old.settled, it.settled...)
		s.shelf.bytes -= it.size
		s.removeFile(it)
		it = old
	} else {
		s.shelf.add(it)
		s.metrics.held.Inc()
	}
	if a == nil {
		return true, nil
	}
	switch {
	case a.ended:
		it.busy++
		s.tried(it, a.err)
	case s.behind > 0 && s.behind+a.size > maxBehind:
		a.cancel()
	default:
		a.item, s.behind = it, s.behind+a.size
		it.busy++
	}
	return true, nil
}

// overBudget takes the oldest objects off the shelf until the rest keeps to the budget. The
// caller removes their files. s.mu is held.
func (s *Spool) overBudget() []*item {
	var dropped []*item
	for it := s.shelf.oldest(); it != nil; it = s.shelf.oldest() {
		age := time.Since(it.at)
		switch {
		case age > s.cfg.MaxAge:
			s.giveUp(it, "age")
		case s.shelf.bytes > s.cfg.MaxBytes:
			s.giveUp(it, "bytes")
		default:
			return dropped
		}
		dropped = append(dropped, it)
	}
	return dropped
}

// giveUp takes an object off the shelf that has not been stored. s.mu is held.
func (s *Spool) giveUp(it *item, reason string) {
	s.log.Error("spool: an object is given up and becomes a gap", "reason", reason, "key", it.key,
		"age", time.Since(it.at).Round(time.Second), "bytes", it.size, "spooled", s.shelf.bytes)
	s.metrics.givenUp.WithLabelValues(reason).Inc()
	s.settle(it, fmt.Errorf("%w (%s)", ErrGivenUp, reason))
}

// settle takes an object off the shelf and has its callbacks called. s.mu is held.
func (s *Spool) settle(it *item, err error) {
	s.shelf.remove(it)
	for _, f := range it.settled {
		s.calls = append(s.calls, call{f, err})
	}
	it.settled = nil
	s.nudge()
}

func (s *Spool) removeFiles(items []*item) {
	for _, it := range items {
		s.removeFile(it)
	}
}
