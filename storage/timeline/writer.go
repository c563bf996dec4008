package timeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"klive/storage"
)

// WriterConfig is what a writer needs. Store, Log, Entry, Epoch and Owner are required.
type WriterConfig struct {
	Store storage.Store
	Log   Log
	Entry string
	// Epoch is the owner's, above every epoch before it. Owner names this process.
	Epoch uint64
	Owner string
	// Keep is how many of the newest items never go into a chapter; at least the live window.
	// Default 10.
	Keep int
	// Chapter is how much media a chapter holds at least. Default 60 s.
	Chapter time.Duration
	Logger  *slog.Logger
}

// Writer is the owner's hand on an entry's timeline. It is safe for concurrent use; a Save
// that waits for the store does not hold up an Append.
type Writer struct {
	cfg WriterConfig
	log *slog.Logger
	// id makes the ids of this writer's records unlike every other's.
	id string

	// saving is held by Save, Expire and the claim; it guards etag, claimed and noMerge.
	saving sync.Mutex
	etag   string
	// claimed is where the claim stands in the log, while the head has not been seen; then 0.
	claimed uint64
	// noMerge is set when a chapter can't be read: then none are merged any more.
	noMerge bool

	// shown is the state that readers get, who do not wait for an append; fenced is set for good.
	shown  atomic.Pointer[State]
	fenced atomic.Bool

	// turn is held by Append and the claim, while they wait for the log too; it is taken after
	// saving. It guards the fields below.
	turn    chan struct{}
	state   *State
	last    uint64 // the number of the subject's last record, 0 when the log keeps none
	n       uint64 // records written
	pending *pending
	// answered are records whose appending failed for all their caller knows, and which
	// somebody else's call has settled since: the caller will append them again.
	answered [][]byte
}

// pending is a record of which nobody knows yet whether the log took it.
type pending struct {
	env  Envelope
	body []byte
}

// OpenWriter loads the entry's head, folds in what the log holds behind it, and claims the
// epoch: first in the log, where from then on records of older epochs don't count, then in
// the head. It returns an error that wraps ErrFenced when a higher epoch has claimed it.
//
// A store that is away does not hold it up when the log reaches back to the entry's first
// record: then the state is made from the log. The claim in the log is the fence meanwhile,
// and the head is written by the next Save that the store answers.
func OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	if cfg.Keep <= 0 {
		cfg.Keep = 10
	}
	if cfg.Chapter <= 0 {
		cfg.Chapter = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Writer{cfg: cfg, turn: make(chan struct{}, 1), id: newWriteID(), log: cfg.Logger.With("entry", cfg.Entry, "epoch", cfg.Epoch)}
	blind, err := w.load(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.claim(ctx, blind); err != nil {
		return nil, err
	}
	if blind {
		w.claimed = w.State().LogSeq
		return w, nil
	}
	if err := w.Save(ctx); errors.Is(err, ErrFenced) || err != nil && !away(ctx, err) {
		return nil, err
	} else if err != nil {
		w.log.Warn("timeline: the head can't be written now; the claim in the log stands", "err", err)
	}
	return w, nil
}

// load takes the state from the head, or from the log alone while the store is away: then it
// reports true.
func (w *Writer) load(ctx context.Context) (blind bool, err error) {
	try, cancel := context.WithTimeout(ctx, headWait)
	defer cancel()
	h, info, err := loadHead(try, w.cfg.Store, w.cfg.Entry)
	if away(ctx, err) {
		var s *State
		if s, err = loadLog(ctx, w.cfg.Log, w.cfg.Entry, err); err == nil {
			w.log.Warn("timeline: the store does not give the head; going on from the log alone")
			w.set(s)
			return true, nil
		}
		if errors.Is(err, context.DeadlineExceeded) { // perhaps the store is just slow
			h, info, err = loadHead(ctx, w.cfg.Store, w.cfg.Entry)
		}
	}
	switch {
	case errors.Is(err, ErrNoTimeline):
		w.set(New(w.cfg.Entry))
	case err != nil:
		return false, err
	default:
		w.set(h.State)
		w.etag = info.ETag
	}
	return false, nil
}

// State returns the timeline as it stands. It never changes; the next call may return another.
func (w *Writer) State() *State { return w.shown.Load() }

// set makes s the state.
func (w *Writer) set(s *State) {
	w.state = s
	w.shown.Store(s)
}

// begin waits for the turn to append; end gives it on.
func (w *Writer) begin(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Writer) end() { <-w.turn }

// claim folds the log to its end and puts the claim there. Who is blind has not seen the head.
func (w *Writer) claim(ctx context.Context, blind bool) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.end()
	claim := &Claimed{Epoch: w.cfg.Epoch, Owner: w.cfg.Owner}
	err := w.catchUp(ctx)
	if errors.Is(err, ErrHole) && !blind {
		// The log lost records that the head does not hold. The broadcast goes on behind a jump
		// in the numbers, so that none is given twice.
		w.log.Error("timeline: the log has lost records that were not in the head; items are missing", "err", err)
		claim.NextSeq, claim.NextDiscontinuity = w.state.NextSeq+lostJump, w.state.NextDiscontinuity+lostJump
	} else if err != nil {
		return err
	}
	if err := w.fencedBy(w.state); err != nil {
		return err
	}
	_, err = w.append(ctx, claim)
	return err
}

// lostJump is more than the log can have held of one entry.
const lostJump = 100_000

// fencedBy says whether s was written by an owner that comes after this one.
func (w *Writer) fencedBy(s *State) error {
	if s.Epoch > w.cfg.Epoch || (s.Epoch == w.cfg.Epoch && s.Owner != w.cfg.Owner) {
		w.fenced.Store(true)
	}
	if w.fenced.Load() {
		return &FencedError{Entry: w.cfg.Entry, Epoch: w.cfg.Epoch, ByEpoch: s.Epoch, ByWorker: s.Owner}
	}
	return nil
}

// Append puts a record into the log and folds it in. The record is checked first: an error
// that wraps ErrRecord means that nothing was written. After another error the record may
// or may not stand in the log; appending the same record again then settles it, and any
// other record comes behind it, whoever appends it. ErrFenced means stop.
func (w *Writer) Append(ctx context.Context, r Record) (*State, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.end()
	if err := w.fencedBy(w.state); err != nil {
		return nil, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if i := slices.IndexFunc(w.answered, func(b []byte) bool { return bytes.Equal(b, body) }); i >= 0 {
		w.answered = slices.Delete(w.answered, i, i+1)
		return w.state, nil
	}
	if p := w.pending; p != nil {
		same := bytes.Equal(body, p.body)
		err := w.settle(ctx)
		switch {
		case same:
			return w.state, err
		case err == nil:
			w.answered = append(w.answered, p.body)
			w.answered = w.answered[max(0, len(w.answered)-maxAnswered):]
		case w.pending != nil || errors.Is(err, ErrFenced):
			return w.state, err
		}
	}
	return w.append(ctx, r)
}

// maxAnswered bounds what is remembered of other calls' records.
const maxAnswered = 16

func (w *Writer) append(ctx context.Context, r Record) (*State, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	w.n++
	id := fmt.Sprintf("%s-%d-%s-%d", w.cfg.Entry, w.cfg.Epoch, w.id, w.n)
	w.pending = &pending{env: Envelope{Epoch: w.cfg.Epoch, ID: id, Record: r}, body: body}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	return w.state, nil
}

// settle brings the pending record into the log, or finds it there.
func (w *Writer) settle(ctx context.Context) error {
	for range maxConflicts {
		done, err := w.try(ctx, w.pending)
		if err == nil && done {
			w.pending = nil
		}
		if err != nil || w.pending == nil {
			return err
		}
		if err := w.catchUp(ctx); err != nil {
			return err
		}
		if w.pending == nil {
			return nil
		}
		if err := w.fencedBy(w.state); err != nil {
			return err
		}
	}
	return fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, ErrConflict)
}

// maxConflicts is how often an append is tried anew behind somebody else's record: an owner
// that is about to be fenced may still be writing.
const maxConflicts = 8

// try checks the pending record against the state and appends it. It reports false when
// the log's last record is another one than this writer knows.
func (w *Writer) try(ctx context.Context, p *pending) (bool, error) {
	p.env.Prev = w.state.LogSeq
	_, err := w.state.Apply(p.env, w.state.LogSeq+1)
	var data []byte
	if err == nil {
		data, err = p.env.Marshal()
	}
	if err != nil {
		w.pending = nil
		return false, err
	}
	seq, err := w.cfg.Log.Append(ctx, Subject(w.cfg.Entry), p.env.ID, data, w.last)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, err)
	}
	next, err := w.state.Apply(p.env, seq)
	if err != nil {
		return false, err
	}
	w.set(next)
	w.last = seq
	return true, nil
}
