package sweeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"klive/storage"
	"klive/storage/playlist"
)

// deleteBatch is how many objects are removed in one call.
const deleteBatch = 500

// pass is one look at the whole store.
type pass struct {
	*Sweeper
	now    time.Time // the store's, from before the pass
	report *report

	current *entry
	batch   []string
	kinds   map[string]int // of the batch
}

// old reports whether an object may go as far as its age is concerned.
func (p *pass) old(o *storage.Info) bool {
	return !o.Modified.IsZero() && !o.Modified.After(p.now.Add(-p.cfg.After))
}

// entry returns what is known of an entry. Keys of an entry follow each other, so one is
// remembered.
func (p *pass) entry(ctx context.Context, id string) *entry {
	if p.current == nil || p.current.id != id {
		p.current = p.load(ctx, id)
	}
	return p.current
}

// each calls do for each object under a prefix, in key order.
func (p *pass) each(ctx context.Context, prefix string, do func(o *storage.Info) error) error {
	for o, err := range storage.All(ctx, p.cfg.Store, prefix) {
		if err != nil {
			return fmt.Errorf("sweeper: list %s: %w", prefix, err)
		}
		p.report.objects++
		if err := do(&o); err != nil {
			return err
		}
	}
	return nil
}

// media removes media and initialization sections.
func (p *pass) media(ctx context.Context) error {
	var folder string
	var kept bool // something of the folder stays, so its sections do
	err := p.each(ctx, playlist.Root+"/", func(o *storage.Info) error {
		k, ok := parseMediaKey(o.Key)
		if !ok {
			if !isPlaylist(o.Key) {
				p.report.foreign++
			}
			return nil
		}
		if f := k.folder(); f != folder {
			folder, kept = f, false
		}
		if !p.old(o) || !p.mayGo(ctx, p.entry(ctx, k.entry), o.Key, &k) {
			kept = true
			return ctx.Err()
		}
		// Media come before sections in key order. Of a broadcast that no timeline knows any more,
		// it can't be told with which section the media go that somebody still needs.
		if k.init > 0 && kept && !p.current.knows(k.broadcast) {
			return nil
		}
		kind := "media"
		if k.init > 0 {
			kind = "init"
		}
		return p.remove(ctx, kind, o.Key)
	})
	return errors.Join(err, p.flush(ctx))
}

// states removes chapters, and broadcasts that are over.
func (p *pass) states(ctx context.Context) error {
	err := p.each(ctx, "state/", func(o *storage.Info) error {
		k, ok := parseStateKey(o.Key)
		switch {
		case !ok:
			return nil
		case k.broadcast == "":
			return p.head(ctx, k.entry, o)
		case !p.old(o):
			return nil
		}
		if e := p.entry(ctx, k.entry); e.err == nil && e.stale(&k) {
			return p.remove(ctx, "chapter", o.Key)
		}
		return nil
	})
	return errors.Join(err, p.flush(ctx))
}

// remove puts an object into the next batch.
func (p *pass) remove(ctx context.Context, kind, key string) error {
	if p.kinds == nil {
		p.kinds = map[string]int{}
	}
	p.kinds[kind]++
	p.batch = append(p.batch, key)
	if len(p.batch) < deleteBatch {
		return nil
	}
	return p.flush(ctx)
}

// flush removes what is in the batch.
func (p *pass) flush(ctx context.Context) error {
	if len(p.batch) == 0 {
		return nil
	}
	batch, kinds := p.batch, p.kinds
	p.batch, p.kinds = nil, nil
	if err := p.cfg.Store.Delete(ctx, batch...); err != nil {
		return fmt.Errorf("sweeper: %w", err)
	}
	for kind, n := range kinds {
		p.metrics.removed.WithLabelValues(kind).Add(float64(n))
	}
	p.report.removed += len(batch)
	return nil
}
