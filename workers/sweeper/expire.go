package sweeper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// headNote says of a head how it looked, and until when nothing in it falls due.
type headNote struct {
	look string
	next media.Time // 0: never, as long as it looks the same
}

// maxHeads bounds what is remembered of heads.
const maxHeads = 200_000

// head looks at an entry whose head is in the store. Most are of entries that were on the air
// long ago, and are not read again and again.
func (p *pass) head(ctx context.Context, id string, o *storage.Info) error {
	look := o.ETag + o.Modified.String()
	if n, ok := p.heads[id]; ok && n.look == look && (n.next == 0 || n.next > media.At(p.now)) {
		return nil
	}
	delete(p.heads, id)
	e := p.entry(ctx, id)
	if e.err != nil {
		return ctx.Err()
	}
	if next, known := p.nextDue(e.newest()); known {
		if len(p.heads) >= maxHeads {
			clear(p.heads)
		}
		p.heads[id] = headNote{look, next}
	}
	return p.expire(ctx, e)
}

// nextDue returns when the next of an entry's broadcasts falls due, 0 when there is none; known
// is false while one is on the air.
func (p *pass) nextDue(s *timeline.State) (next media.Time, known bool) {
	if s == nil || s.Current() == nil {
		return 0, true
	}
	for _, b := range s.Broadcasts {
		if at := p.dueAt(b); next == 0 || at < next {
			next = at
		}
	}
	return next, s.Current().Ended
}

// lastEnd is where a broadcast ends.
func lastEnd(b *timeline.Broadcast) media.Time {
	end := b.End
	if n := len(b.Items); n > 0 {
		end = max(end, b.Items[n-1].End())
	}
	return end
}

// dueAt is when a broadcast that is over goes.
func (p *pass) dueAt(b *timeline.Broadcast) media.Time {
	return lastEnd(b).Add(max(b.DVRWindow, p.cfg.Keep))
}

// due returns the end of the last broadcast whose time is over, and whether nothing is left
// behind it. It is zero while there is none, and while a broadcast is on the air: then its
// owner expires what came before.
func (p *pass) due(s *timeline.State) (before media.Time, all bool) {
	if s == nil || s.Current() == nil || !s.Current().Ended {
		return 0, false
	}
	now := media.At(p.now)
	for _, b := range s.Broadcasts {
		if p.dueAt(b) > now {
			return before, false
		}
		before = max(before, lastEnd(b))
	}
	return before, true
}

// expire ends the life of an entry's broadcasts that are over: playlists that nothing
// replaces any more first, then the timeline, then the media.
func (p *pass) expire(ctx context.Context, e *entry) error {
	before, _ := p.due(e.newest())
	if e.err != nil || before == 0 || e.hasFloor && e.floor < before {
		return nil
	}
	r, err := p.take(ctx, e.id)
	if errors.Is(err, errBusy) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweeper: the lease on %s: %w", e.id, err)
	}
	defer r.release()
	err = p.expireHeld(r.held, r.confirm, e)
	p.current = nil // the timeline is another now
	if errors.Is(err, timeline.ErrFenced) || r.held.Err() != nil {
		return ctx.Err() // a new owner is there
	}
	if err != nil {
		p.log.Warn("sweeper: a broadcast that is over could not be removed, trying again later", "entry", e.id, "err", err)
	}
	return ctx.Err()
}

// expireHeld works as the entry's owner.
func (p *pass) expireHeld(ctx context.Context, confirm func(context.Context) error, e *entry) error {
	var epoch uint64
	for _, s := range e.states {
		epoch = max(epoch, s.Epoch)
	}
	w, err := timeline.OpenWriter(ctx, timeline.WriterConfig{
		Store: p.cfg.Store, Log: p.cfg.Log, Entry: e.id, Epoch: epoch + 1, Owner: p.holder(), Logger: p.log,
	})
	if err != nil {
		return err
	}
	state := w.State()
	before, all := p.due(state)
	if before == 0 {
		return nil // a broadcast has begun
	}
	if all {
		// A process that was stopped for a while may have lost the entry to an owner whose
		// playlists these are by now.
		if err := confirm(ctx); err != nil {
			return err
		}
		if err := p.cfg.Store.Delete(ctx, playlistKeys(state, p.cfg.Window)...); err != nil {
			return err
		}
	}
	dropped, err := w.Expire(ctx, before)
	for _, d := range dropped {
		if d.Whole {
			p.report.expired++
			p.metrics.expired.Inc()
			p.log.Info("sweeper: a broadcast that is over is removed", "entry", e.id, "broadcast", d.Broadcast)
		}
		for _, key := range playlist.DroppedKeys(&d) {
			if e := p.remove(ctx, "expired", key); e != nil {
				return e
			}
		}
	}
	return errors.Join(err, p.flush(ctx))
}

// playlistKeys lists the stored playlists of the broadcast that players see.
func playlistKeys(s *timeline.State, window int) []string {
	var keys []string
	for _, f := range playlist.Stored(s, window) {
		i := strings.LastIndexByte(f.Key, '/') + 1
		dvr := playlist.DVRName
		if f.Key[i:] == playlist.MultivariantName {
			dvr = playlist.MultivariantDVRName
		}
		keys = append(keys, f.Key, f.Key[:i]+dvr)
	}
	return keys
}
