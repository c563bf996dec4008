package packager

import (
	"context"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/timeline"
)

// announce writes the broadcast's record, by which gateways know what target duration is
// fixed and where the timeline ends, and a worker after a restart what is left open.
func (w *writer) announce(ctx context.Context, b *timeline.Broadcast, end media.Time) {
	if b.Target == 0 {
		return
	}
	r := live.BroadcastRecord{ID: b.ID, Start: b.Start, Target: time.Duration(b.Target) * time.Second, LastEnd: end, Ended: b.Ended}
	data, err := r.Marshal()
	if err == nil {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		_, err = w.p.Broadcasts.Put(try, w.p.Entry, data)
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("the broadcast's record could not be written; the next segment tries again", "error", err)
	}
}
