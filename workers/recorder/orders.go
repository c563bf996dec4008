package recorder

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/ledger"
)

// OrdersBucket is the control-plane bucket of what operators ask for, keyed by
// "<entry>.<random>". Orders wait there until the entry's recorder has obeyed.
const OrdersBucket = "recording-orders"

// orderLife is how long an order waits for a recorder.
const orderLife = 24 * time.Hour

const orderVersion = 1

// orderRecord is an order's wire form.
type orderRecord struct {
	Version int       `json:"v"`
	Kind    string    `json:"kind"`
	File    string    `json:"file,omitempty"`
	At      time.Time `json:"at"`
}

// ErrOrder is returned for orders that can't be.
var ErrOrder = errors.New("recorder: bad order")

// Send leaves an order for the recorder of an entry, wherever it runs: a split at the given
// moment, or the retry or skip of a file.
func Send(ctx context.Context, orders *bus.Bucket, entry, kind, file string, at time.Time) error {
	switch {
	case !live.ValidEntryID(entry):
		return fmt.Errorf("%w: %.40q is no entry's id; want one such as 0_rkij47dr", ErrOrder, entry)
	case kind != OrderSplit && kind != OrderRetry && kind != OrderSkip:
		return fmt.Errorf("%w: %.20q is none of split, retry and skip", ErrOrder, kind)
	case kind != OrderSplit && (file == "" || len(file) > 100):
		return fmt.Errorf("%w: no file is named; klive recording list shows them", ErrOrder)
	}
	b, err := json.Marshal(orderRecord{orderVersion, kind, file, at})
	if err != nil {
		return err
	}
	_, err = orders.PutTTL(ctx, entry+"."+rand.Text(), b, orderLife)
	return err
}

func parseOrder(b []byte) (orderRecord, error) {
	var o orderRecord
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	if o.Version != orderVersion {
		return o, fmt.Errorf("%w: version %d is another release's", ErrOrder, o.Version)
	}
	return o, nil
}

// obey does what operators ask for.
func (r *Recorder) obey(ctx context.Context) error {
	for _, o := range r.Orders() {
		err := r.book.Change(ctx, func(l *ledger.Ledger) error { r.apply(l, o); return nil })
		if err != nil {
			return err
		}
		o.Done()
	}
	return nil
}

func (r *Recorder) apply(l *ledger.Ledger, o Order) {
	if o.Kind == OrderSplit {
		r.split(l, media.At(o.At))
		return
	}
	if reason := Refused(l, o.Kind, o.File); reason != "" {
		r.Log.Warn("an operator's order can't be obeyed", "file", o.File, "order", o.Kind, "reason", reason)
		return
	}
	f := l.File(o.File)
	switch {
	case o.Kind == OrderSkip:
		f.State, f.Reason = ledger.Skipped, "an operator skipped it"
	case o.Kind == OrderRetry && f.Size == 0:
		f.State, f.Reason = ledger.Planned, ""
	case o.Kind == OrderRetry:
		f.State, f.Reason, f.Token, f.Attempts = ledger.Uploaded, "", "", 0
	}
	f.Changed = time.Now()
	r.Log.Info("an operator decided on a recording", "file", o.File, "order", o.Kind)
}

// Refused says why a retry or skip of a file can't be obeyed as its entry's ledger stands; empty
// when it can.
func Refused(l *ledger.Ledger, kind, file string) string {
	f := l.File(file)
	switch {
	case f == nil:
		return "there is no such file; klive recording list shows those that there are"
	case f.State == ledger.Confirmed:
		return "file " + file + " is confirmed: the recording has it, and nothing is left to decide"
	case f.State == ledger.Skipped && kind == OrderSkip:
		return "file " + file + " is skipped already"
	case f.State == ledger.Skipped && (f.Size == 0 || !lastOf(l, f)):
		return "file " + file + " was skipped, and can't be handed over any more: it was never written, or files behind it are decided already"
	case f.State == ledger.Appending:
		return "file " + file + " is being appended: wait until it is confirmed or parked"
	case kind == OrderRetry && f.State == ledger.Uploaded:
		return "file " + file + " is written and waits to be appended, which happens by itself: wait until it is confirmed or parked"
	}
	return ""
}

// split has the files of what is being recorded end at an instant.
func (r *Recorder) split(l *ledger.Ledger, at media.Time) {
	told := false // what becomes of the order
	for i := range l.Sessions {
		s := &l.Sessions[i]
		switch {
		case s.Stopped != "":
		case slices.Contains(s.Splits, at):
			told = true // by an attempt before this one
		case len(s.Splits) >= ledger.MaxSplits:
			r.Log.Warn("an operator asks for a split, but too many wait already", "broadcast", s.Broadcast, "waiting", len(s.Splits))
			told = true
		default:
			s.Splits = append(s.Splits, at)
			r.Log.Info("a split was asked for", "broadcast", s.Broadcast)
			told = true
		}
	}
	if !told {
		r.Log.Warn("an operator asks for a split, but nothing is being recorded", "at", at.Std())
	}
}

// lastOf reports whether no file of the series stands behind f: one that was skipped can still
// be appended without changing places.
func lastOf(l *ledger.Ledger, f *ledger.File) bool {
	return !slices.ContainsFunc(l.Files, func(g ledger.File) bool { return g.Series() == f.Series() && g.N > f.N })
}
