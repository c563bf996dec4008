package timeline

import (
	"context"
	"fmt"
)

// catchUp folds in what stands in the log behind the state. It also learns the number of
// the subject's last record, which an append must name.
func (w *Writer) catchUp(ctx context.Context) error {
	subject := Subject(w.cfg.Entry)
	last, err := w.cfg.Log.Last(ctx, subject)
	if err != nil {
		return fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, err)
	}
	w.last = last
	from := w.state.LogSeq + 1
	if last == w.state.LogSeq || last == 0 {
		return nil
	}
	if last < from {
		from = 1 // the log was made anew
	}
	f, err := w.cfg.Log.Follow(ctx, subject, from)
	if err != nil {
		return fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, err)
	}
	defer f.Close()
	for seq := uint64(0); seq < last; {
		var data []byte
		if seq, data, err = f.Next(ctx); err != nil {
			return fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, err)
		}
		if err := w.replay(data, seq); err != nil {
			return err
		}
	}
	return nil
}

// replay folds in one record that stands in the log.
func (w *Writer) replay(data []byte, seq uint64) error {
	env, err := UnmarshalEnvelope(data)
	if err != nil {
		return fmt.Errorf("timeline log of %s at %d: %w", w.cfg.Entry, seq, err)
	}
	next, err := w.state.Apply(env, seq)
	if err != nil {
		return fmt.Errorf("timeline log of %s at %d: %w", w.cfg.Entry, seq, err)
	}
	if w.pending != nil && w.pending.env.ID == env.ID {
		w.pending = nil
	}
	if next != w.state && next.Epoch == w.state.Epoch && env.Epoch < next.Epoch {
		w.log.Warn("timeline: ignored a record of a fenced owner", "from", env.Epoch, "seq", seq)
	}
	w.set(next)
	w.last = max(w.last, seq)
	return nil
}
