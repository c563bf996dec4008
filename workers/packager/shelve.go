package packager

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"klive/infra/live"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// notice is what became of media that were held, or that an owner before this one left.
type notice struct {
	seq   uint64
	media timeline.Media
	err   error  // why it is a gap
	cause string // of the gap, for metrics
	// rung is the result of a transcode job, which has no media yet.
	rung *rungResult
	// of is what waits for it; nil for an initialization section, and then rendition names it.
	of        *shelved
	rendition string
	// ordered says that the writer has expected it from a transcode worker.
	ordered bool
}

// shelved is an item, or one medium of an owner before this one, that is not settled.
type shelved struct {
	left   int // media that are not settled; the writer's own
	claims []*claim
	done   []time.Time // when the last parts of its segments came
	source int         // media that are no transcode job's and not settled
	stored bool        // something of it rests in the store
	told   bool        // that is no news
}

// notify brings a notice to the writer. It does not block.
func (w *writer) notify(n notice) {
	w.mu.Lock()
	w.notices = append(w.notices, n)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// hold counts media that are on their way to the store.
func (w *writer) hold(n int) {
	w.mu.Lock()
	w.held += n
	w.mu.Unlock()
	w.p.Metrics.held.Add(float64(n))
}

// holds reports whether something is on its way to the store and may still get there.
func (w *writer) holds() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held > 0 || w.ordered > 0 || len(w.notices) > 0
}

// clean reports whether the broadcast has ended and nothing of it is left to be written.
func (w *writer) clean() bool {
	w.mu.Lock()
	clean := w.finished && w.held == 0 && w.ordered == 0 && len(w.notices) == 0
	w.mu.Unlock()
	return clean && w.saver.clean()
}

// store shelves the item's media, all renditions at once, and says in the timeline what
// became of them.
func (w *writer) store(ctx context.Context, broadcast string, seq uint64, it *item, adopted []timeline.Media) error {
	of := &shelved{claims: it.claims}
	for _, s := range it.segments {
		of.done = append(of.done, s.done)
	}
	var out, rungs []timeline.Media
	for _, m := range adopted {
		switch {
		case m.Gap:
		case m.Encode != nil:
			rungs = append(rungs, m)
		default:
			out = append(out, m)
		}
	}
	of.source, of.left = len(out), len(out)+len(rungs)
	w.order(ctx, broadcast, seq, rungs, of)
	if of.left == 0 {
		w.p.released.release(it.claims...)
		return nil
	}
	var wg sync.WaitGroup
	for i := range out {
		o := it.output(out[i].Rendition)
		wg.Go(func() { w.storeMedia(ctx, broadcast, seq, o, &out[i], of) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(out) == 0 {
		return nil
	}
	return w.say(ctx, seq, out, of)
}

// storeMedia muxes one output and shelves it; m then says what it is: stored, held or a gap.
func (w *writer) storeMedia(ctx context.Context, broadcast string, seq uint64, o *output, m *timeline.Media, of *shelved) {
	kind := o.track.Params.Kind()
	pieces, err := mp4.SegmentOf(o.seg, o.rendition, kind)
	if err == nil {
		err = w.shelve(ctx, broadcast, seq, m, contentTypeOf(kind), pieces, of)
	}
	if err != nil {
		m.Gap = true
		w.gap(ctx, m, "store", err)
	}
}

// shelve brings media to the shelf, or straight to the store when there is none.
func (w *writer) shelve(ctx context.Context, broadcast string, seq uint64, m *timeline.Media, contentType string, pieces [][]byte, of *shelved) error {
	m.Size = 0
	for _, p := range pieces {
		m.Size += int64(len(p))
	}
	later := *m
	later.Held = false
	held, err := w.put(ctx, playlist.MediaKey(m.Rendition, broadcast, m.Name), contentType, pieces, func(err error) {
		n := notice{seq: seq, media: later, err: err, cause: "store", of: of}
		n.media.Stored, n.media.Gap = err == nil, err != nil
		w.notify(n)
	})
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return err
	}
	if m.Held = held; held {
		w.hold(1)
	} else {
		m.Stored = true
	}
	return nil
}

// put writes an immutable object. That it exists is ErrPrecondition.
func (w *writer) put(ctx context.Context, key, contentType string, data [][]byte, settled func(error)) (held bool, err error) {
	opt := storage.PutOptions{ContentType: contentType, CacheControl: cacheForever, IfAbsent: true}
	if w.p.Shelf != nil {
		return w.p.Shelf.PutMedia(ctx, key, data, opt, settled)
	}
	var exists error
	err = w.retry(ctx, "media", func(ctx context.Context) error {
		_, err := w.p.Store.Put(ctx, key, data, opt)
		if errors.Is(err, storage.ErrPrecondition) {
			exists, err = err, nil // trying again would find the same
		}
		return err
	})
	return false, errors.Join(err, exists)
}

// gap says that media never come to the store.
func (w *writer) gap(ctx context.Context, m *timeline.Media, cause string, err error) {
	if ctx.Err() != nil {
		return
	}
	text := "a segment could not be stored; the playlist shows a gap"
	if cause == "transcode" {
		text = "a segment of a rung was not made; its playlist shows a gap"
	}
	w.log.Error(text, "rendition", m.Rendition, "segment", m.Name, "error", err)
	w.p.Metrics.gaps.WithLabelValues(cause).Inc()
}

// settle works off the notices.
func (w *writer) settle(ctx context.Context) error {
	for {
		w.mu.Lock()
		list := w.notices
		w.notices = nil
		w.mu.Unlock()
		if len(list) == 0 {
			return nil
		}
		ordered := 0
		for i := range list {
			if list[i].ordered {
				ordered++
			}
		}
		w.expect(-ordered)
		w.hold(ordered - len(list))
		for len(list) > 0 {
			of := list[0].of
			if r := list[0].rung; r != nil {
				if err := w.finishRung(ctx, r); err != nil {
					return err
				}
				list = list[1:]
				continue
			}
			if of == nil {
				w.settleInit(&list[0])
				list = list[1:]
				continue
			}
			// The media of one item go into one record.
			var out []timeline.Media
			seq := list[0].seq
			list = slices.DeleteFunc(list, func(n notice) bool {
				if n.of != of || n.seq != seq || n.rung != nil {
					return false
				}
				if n.media.Gap {
					w.gap(ctx, &n.media, n.cause, n.err)
				}
				out = append(out, n.media)
				return true
			})
			if err := w.say(ctx, seq, out, of); err != nil {
				return err
			}
		}
		w.saver.save(0)
	}
}

// say writes into the timeline what became of an item's media, and gives up its parts when
// all is settled.
func (w *writer) say(ctx context.Context, seq uint64, out []timeline.Media, of *shelved) error {
	err := w.append(ctx, &timeline.Stored{Seq: seq, Media: out})
	if errors.Is(err, timeline.ErrRecord) {
		w.log.Error("the timeline refuses to know what became of a segment", "seq", seq, "error", err)
	} else if err != nil {
		return err
	}
	for _, m := range out {
		if !m.Settled() {
			continue
		}
		of.left--
		if m.Encode == nil {
			if of.source--; of.source == 0 {
				w.observe(of)
			}
		} else if m.Encode.Attempt != "" {
			w.p.Media.Release(live.RungSubject(w.p.Entry, m.Rendition, m.Encode.Attempt), m.Encode.Parts)
		}
		if m.Stored {
			of.stored = true
			w.p.Metrics.segments.Inc()
			w.p.Metrics.bytes.Add(float64(m.Size))
			w.p.used(&m)
		}
	}
	if of.left == 0 {
		w.p.released.release(of.claims...)
		w.tell(of)
	}
	return nil
}

// observe measures how long the source's media took to the store.
func (w *writer) observe(of *shelved) {
	now := time.Now()
	for _, done := range of.done {
		w.p.Metrics.delay.Observe(now.Sub(done).Seconds())
	}
	of.done = nil
}

// tell counts an item that rests in the store for those who wait for a playable broadcast.
func (w *writer) tell(of *shelved) {
	if !of.stored || of.told {
		return
	}
	w.stored++
	if w.p.Stored != nil {
		w.p.Stored(w.stored)
	}
}

func isStored(list []timeline.Media) bool {
	return slices.ContainsFunc(list, func(m timeline.Media) bool { return m.Stored })
}
