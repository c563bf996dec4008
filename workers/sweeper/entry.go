package sweeper

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// entry is what a pass knows of one live entry.
type entry struct {
	id string
	// err is set when nothing of the entry may go.
	err error
	// states are the entry's timeline as the head in the store has it, and as the log leaves it:
	// who takes the entry over begins with either. There is none without a timeline.
	states []*timeline.State
	// names are the keys that the states lead to; nil until they are asked for.
	names *keySet
	// floor counts when hasFloor is set.
	floor    media.Time
	hasFloor bool
}

// keySet holds hashes of keys. Two keys with one hash only keep an object too long.
type keySet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newKeySet() *keySet { return &keySet{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}} }

func (s *keySet) add(key string) { s.hashes[maphash.String(s.seed, key)] = struct{}{} }

func (s *keySet) has(key string) bool {
	_, ok := s.hashes[maphash.String(s.seed, key)]
	return ok
}

// load reads an entry's timeline.
func (p *pass) load(ctx context.Context, id string) *entry {
	e := &entry{id: id}
	e.err = e.read(ctx, p.Sweeper)
	if e.err != nil && ctx.Err() == nil {
		p.log.Debug("sweeper: a timeline can't be read; its media stay", "entry", id, "err", e.err)
		p.report.unreadable[id] = true
	}
	return e
}

func (e *entry) read(ctx context.Context, s *Sweeper) error {
	head, err := timeline.LoadHead(ctx, s.cfg.Store, e.id)
	switch {
	case err == nil:
		e.states = append(e.states, head)
	case !errors.Is(err, timeline.ErrNoTimeline):
		return err
	}
	now, err := timeline.Load(ctx, s.cfg.Store, s.cfg.Log, e.id)
	switch {
	case err == nil:
		e.states = append(e.states, now)
	case len(e.states) > 0 || !errors.Is(err, timeline.ErrNoTimeline) || errors.Is(err, timeline.ErrHole):
		return err
	}
	if s.cfg.Floor == nil {
		return nil
	}
	e.floor, e.hasFloor, err = s.cfg.Floor.Floor(ctx, e.id)
	return err
}

// newest is the timeline as the log leaves it, nil without one.
func (e *entry) newest() *timeline.State {
	if len(e.states) == 0 {
		return nil
	}
	return e.states[len(e.states)-1]
}

// collect gathers the names of all media, when they are first asked for.
func (p *pass) collect(ctx context.Context, e *entry) {
	if e.names != nil || e.err != nil {
		return
	}
	e.names = newKeySet()
	read := map[string]bool{}
	for _, state := range e.states {
		for _, b := range state.Broadcasts {
			for _, c := range b.Chapters {
				if read[c.Key] {
					continue
				}
				read[c.Key] = true
				items, err := timeline.LoadChapter(ctx, p.cfg.Store, b.ID, c)
				if err != nil {
					e.err = err
					p.report.unreadable[e.id] = true
					return
				}
				e.add(b, items)
			}
			e.add(b, b.Items)
			for _, r := range b.Renditions {
				for n := 1; n <= r.Inits; n++ {
					e.names.add(playlist.InitKey(r.Name, b.ID, n))
				}
			}
		}
	}
}

// add names the media of items, but not those that have expired or will never be there.
func (e *entry) add(b *timeline.Broadcast, items []timeline.Item) {
	for i := range items {
		if items[i].Seq < b.FirstSeq {
			continue
		}
		for _, m := range items[i].Media {
			if !m.Gap {
				e.names.add(playlist.MediaKey(m.Rendition, b.ID, m.Name))
			}
		}
	}
}

// mayGo reports whether nothing leads to a media object and nobody needs it.
func (p *pass) mayGo(ctx context.Context, e *entry, key string, k *mediaKey) bool {
	p.collect(ctx, e)
	if e.err != nil {
		return false
	}
	if e.names.has(key) {
		return false
	}
	return k.init > 0 || !e.hasFloor || k.start <= e.floor
}

// knows reports whether a broadcast is in the timeline.
func (e *entry) knows(broadcast string) bool {
	return slices.ContainsFunc(e.states, func(s *timeline.State) bool {
		return slices.ContainsFunc(s.Broadcasts, func(b *timeline.Broadcast) bool { return b.ID == broadcast })
	})
}

// stale reports whether a chapter object is named by no state, and can't come to be: an owner
// that finds the object of a chapter that it is about to write takes it as its own. Without a
// head, chapters are what it could be made from again, so they stay.
func (e *entry) stale(k *stateKey) bool {
	for _, state := range e.states {
		i := slices.IndexFunc(state.Broadcasts, func(b *timeline.Broadcast) bool { return b.ID == k.broadcast })
		if i < 0 {
			continue
		}
		b := state.Broadcasts[i]
		inside := slices.ContainsFunc(b.Chapters, func(c timeline.Chapter) bool {
			return c.FirstSeq <= k.first && k.last <= c.LastSeq && (c.FirstSeq != k.first || c.LastSeq != k.last)
		})
		if !inside && k.last >= b.FirstSeq {
			return false
		}
	}
	return len(e.states) > 0
}
