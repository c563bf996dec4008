package timeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// followed is one entry of a view. Its goroutine is run.
type followed struct {
	view   *View
	entry  string
	cancel context.CancelFunc
	used   time.Time // guarded by view.mu

	state atomic.Pointer[State]
	// ready is closed when there is a state or err says why there is none.
	ready   chan struct{}
	err     error
	isReady bool // run's own
}

// run follows the entry until it is idle, evicted or the view is closed.
func (f *followed) run(ctx context.Context) {
	defer f.cancel()
	defer f.settle(ErrClosed)
	defer f.view.leave(f, false)
	log := f.view.cfg.Logger.With("entry", f.entry)
	from := uint64(0)
	for {
		err := f.load(ctx)
		if f.state.Load() == nil {
			if errors.Is(err, ErrNoTimeline) {
				f.view.markAbsent(f.entry)
			} else if ctx.Err() == nil {
				log.Error("timeline: can't load", "err", err)
			}
			f.view.leave(f, false)
			f.settle(err)
			return
		}
		if from == 0 {
			from = f.state.Load().LogSeq + 1
		}
		again, err := f.follow(ctx, from, log)
		if ctx.Err() != nil || f.view.leave(f, true) {
			return
		}
		from = again
		f.settle(nil)
		f.view.metrics.reloads.Inc()
		log.Warn("timeline: following anew", "from", from, "err", err)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return
		}
	}
}

// settle lets readers go on. err counts when there is no state.
func (f *followed) settle(err error) {
	if !f.isReady {
		f.isReady, f.err = true, err
		close(f.ready)
	}
}

// load takes the head from the store when it is newer than the state at hand. Who has a state
// does without a store that is away; who has none begins with what the log holds.
func (f *followed) load(ctx context.Context) error {
	s, err := loadRead(ctx, f.view.cfg.Store, f.view.cfg.Log, f.entry)
	if err != nil {
		return err
	}
	old := f.state.Load()
	if old == nil || s.Epoch > old.Epoch || (s.Epoch == old.Epoch && s.LogSeq > old.LogSeq) {
		f.state.Store(s)
	}
	return nil
}

// errRestart ends a follow whose log has begun anew.
var errRestart = errors.New("timeline: the log was made anew")

// follow folds records in until something goes wrong or nobody wants the entry any more. It
// returns where to go on; 0 means behind the head.
func (f *followed) follow(ctx context.Context, from uint64, log *slog.Logger) (uint64, error) {
	subject := Subject(f.entry)
	last, err := f.view.cfg.Log.Last(ctx, subject)
	if err != nil {
		return 0, err
	}
	r, err := f.view.cfg.Log.Follow(ctx, subject, from)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	began, read := time.Now(), from-1
	for {
		if read >= last || time.Since(began) >= firstWait {
			f.settle(nil)
		}
		if f.isReady && f.view.idle(f) {
			return 0, context.Canceled
		}
		wait := checkEvery
		if !f.isReady {
			wait = firstWait
		}
		seq, data, err := next(ctx, r, wait)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if again, err := f.check(ctx); err != nil {
				return again, err
			}
			continue
		case err != nil:
			return 0, err
		}
		read = seq
		if err := f.apply(data, seq, log); err != nil {
			return 0, err
		}
	}
}

func next(ctx context.Context, r LogFollower, wait time.Duration) (uint64, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return r.Next(ctx)
}

// apply folds one record in.
func (f *followed) apply(data []byte, seq uint64, log *slog.Logger) error {
	env, err := UnmarshalEnvelope(data)
	if err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	s, err := f.state.Load().Apply(env, seq)
	if err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	if env.Epoch < s.Epoch && seq == s.LogSeq {
		log.Warn("timeline: ignored a record of a fenced owner", "from", env.Epoch, "seq", seq)
	}
	f.state.Store(s)
	return nil
}

// check runs when the log has been silent for a while. An error ends the follow: the log
// begins anew. A log that does not answer is followed on: nothing is read meanwhile, so it
// has little time to.
func (f *followed) check(ctx context.Context) (from uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	last, err := f.view.cfg.Log.Last(ctx, Subject(f.entry))
	if err == nil && last != 0 && last < f.state.Load().LogSeq {
		return 1, errRestart
	}
	return 0, nil
}
