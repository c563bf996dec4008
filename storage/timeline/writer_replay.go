package timeline

import (
	"context"
	"fmt"
)

// catchUp folds in what stands in the log behind the state. It also learns the number of
// the subject's last record, which an append must name.
func (w *Writer) catchUp(ctx context.Context) error {
	last, err := w.cfg.Log.Last(ctx, Subject(w.cfg.Entry))
	if err != nil {
		return fmt.Errorf("timeline log of %s: %w", w.cfg.Entry, err)
	}
	w.last = last
	return readLog(ctx, w.cfg.Log, w.cfg.Entry, w.state.LogSeq, last, w.replay)
}

// replay folds in one record that stands in the log.
func (w *Writer) replay(env Envelope, seq uint64) error {
	next, err := w.state.Apply(env, seq)
	if err != nil {
		return err
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
