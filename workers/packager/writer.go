package packager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// writer is the goroutine that writes what the loop decided, one item after the other.
type writer struct {
	p    *Packager
	log  *slog.Logger
	jobs chan *item
	done chan struct{}
	err  error // valid once done is closed

	renditions map[string]*rendition // of the current broadcast
	stored     int                   // items of the broadcast with media in the store
	lists      map[string]string     // by key: the playlists as this writer stored them
	dvrWritten mark                  // the state that the stored DVR playlists show
	expired    time.Time             // when expiry ran last
}

// The times between tries of a write, and the longest that one try may take.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
	tryTimeout = 15 * time.Second
	// expireEvery bounds how often old items are looked for.
	expireEvery = 10 * time.Second
)

const (
	cacheForever = "public, max-age=31536000, immutable"
	typeVideo    = "video/mp4"
	typeAudio    = "audio/mp4"
)

func newWriter(p *Packager) *writer {
	w := &writer{p: p, log: p.log, jobs: make(chan *item), done: make(chan struct{}), renditions: map[string]*rendition{}, lists: map[string]string{}}
	if b := p.Timeline.State().Current(); b != nil && !b.Ended {
		w.stored = len(b.Items)
	}
	return w
}

// run writes items until the jobs are closed, the context ends or writing is no longer
// allowed.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	if w.err = w.settleOld(ctx); w.err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			w.err = context.Cause(ctx)
			return
		case it, ok := <-w.jobs:
			if !ok {
				return
			}
			if w.err = w.write(ctx, it); w.err != nil {
				return
			}
		}
	}
}

// settleOld looks after items of the open broadcast that an owner before this one adopted
// and did not finish: what is in the store is stored, the rest is a gap.
func (w *writer) settleOld(ctx context.Context) error {
	b := w.p.Timeline.State().Current()
	if b == nil || b.Ended {
		return nil
	}
	for i := range b.Items {
		it := &b.Items[i]
		if it.Settled() {
			continue
		}
		rec := &timeline.Stored{Seq: it.Seq}
		for _, m := range it.Media {
			if !m.Stored && !m.Gap {
				rec.Media = append(rec.Media, w.lookFor(ctx, b, m))
			}
		}
		if err := w.append(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// lookFor says whether media that was adopted is in the store.
func (w *writer) lookFor(ctx context.Context, b *timeline.Broadcast, m timeline.Media) timeline.Media {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r, info, err := w.p.Store.Get(ctx, playlist.MediaKey(m.Rendition, b.ID, m.Name), nil)
	if err == nil {
		r.Close()
		m.Stored, m.Size = true, info.Size
		return m
	}
	w.log.Warn("a segment was adopted before a restart and never stored; the playlists show a gap", "rendition", m.Rendition, "segment", m.Name, "error", err)
	w.p.Metrics.gaps.WithLabelValues("restart").Inc()
	m.Gap = true
	return m
}

// write brings one item into the timeline, the store and the playlists. An error means that
// this owner must stop.
func (w *writer) write(ctx context.Context, it *item) error {
	if it.final {
		return w.finish(ctx)
	}
	defer w.release(it)
	if err := w.open(ctx, it); err != nil {
		return err
	}
	rec, err := w.adopted(ctx, it)
	if err != nil || rec == nil {
		return err
	}
	err = w.append(ctx, rec)
	if errors.Is(err, timeline.ErrRecord) {
		w.log.Error("the timeline refuses a segment, which is left out", "start", it.start.Std(), "error", err)
		w.p.Metrics.gaps.WithLabelValues("refused").Inc()
		return nil
	}
	if err != nil {
		return err
	}
	b := w.p.Timeline.State().Current()
	seq := b.Items[len(b.Items)-1].Seq
	w.announce(ctx, b, it.end)
	media := w.store(ctx, b.ID, it, rec.Item.Media)
	if len(media) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.append(ctx, &timeline.Stored{Seq: seq, Media: media}); err != nil {
			return err
		}
	}
	if err := w.publish(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(media, func(m timeline.Media) bool { return m.Stored }) {
		w.tell(it)
	}
	return w.expire(ctx, it)
}

// open starts a broadcast when none is open.
func (w *writer) open(ctx context.Context, it *item) error {
	if b := w.p.Timeline.State().Current(); b != nil && !b.Ended {
		return nil
	}
	clear(w.renditions)
	w.stored = 0
	id := strings.ToLower(rand.Text())
	if err := w.append(ctx, &timeline.Started{ID: id, Start: it.start, DVRWindow: it.dvr}); err != nil {
		return err
	}
	w.log.Info("the broadcast begins", "broadcast", id, "start", it.start.Std(), "dvrWindow", it.dvr)
	return nil
}

// finish ends the broadcast.
func (w *writer) finish(ctx context.Context) error {
	b := w.p.Timeline.State().Current()
	if b == nil || b.Ended {
		return nil
	}
	end := b.Start
	if n := len(b.Items); n > 0 {
		end = b.Items[n-1].End()
	}
	if err := w.append(ctx, &timeline.Ended{End: end}); err != nil {
		return err
	}
	w.log.Info("the broadcast has ended", "broadcast", b.ID, "end", end.Std())
	w.announce(ctx, w.p.Timeline.State().Current(), end)
	return w.retry(ctx, "end", w.playlists)
}

// adopted makes the record that adopts the item; nil when nothing of it can be adopted.
func (w *writer) adopted(ctx context.Context, it *item) (*timeline.Adopted, error) {
	rec := &timeline.Adopted{Target: it.target, Independent: it.independent, Item: timeline.Item{
		Discontinuity: it.discontinuity, Start: it.start, Duration: it.end.Sub(it.start),
	}}
	if it.gap != "" {
		b := w.p.Timeline.State().Current()
		for _, r := range b.Renditions {
			rec.Item.Media = append(rec.Item.Media, timeline.Media{
				Rendition: r.Name, Name: fmt.Sprintf("%d-0", it.start.Micros()), Start: it.start, Duration: rec.Item.Duration, Gap: true,
			})
		}
	}
	for i := range it.outputs {
		m, err := w.prepare(ctx, it, &it.outputs[i])
		if err != nil {
			return nil, err
		}
		if m != nil {
			rec.Item.Media = append(rec.Item.Media, *m)
		}
	}
	if len(rec.Item.Media) == 0 {
		w.log.Warn("a segment makes no rendition and is left out", "start", it.start.Std())
		return nil, nil
	}
	return rec, nil
}

// append writes a record, again and again while the bus does not answer.
func (w *writer) append(ctx context.Context, r timeline.Record) error {
	return w.retry(ctx, "record", func(ctx context.Context) error {
		_, err := w.p.Timeline.Append(ctx, r)
		return err
	})
}

// publish saves the head and writes the playlists. What fails is logged, and made good with
// the next item; only being fenced is an error.
func (w *writer) publish(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	err := w.playlists(try)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, timeline.ErrFenced) {
		w.log.Error("the timeline and its playlists could not be stored; trying again with the next segment", "error", err)
		w.p.Metrics.retries.WithLabelValues("playlists").Inc()
		return nil
	}
	return err
}

// tell counts the item for those who wait for a playable broadcast.
func (w *writer) tell(it *item) {
	w.stored++
	now := time.Now()
	for _, s := range it.segments {
		w.p.Metrics.delay.Observe(now.Sub(s.done).Seconds())
	}
	if w.p.Stored != nil {
		w.p.Stored(w.stored)
	}
}

// release frees the item's parts on the media plane.
func (w *writer) release(it *item) {
	for _, s := range it.segments {
		w.p.Media.Release(s.feed.Subject(), s.last)
	}
}

// expire drops what has left the windows and deletes its media.
func (w *writer) expire(ctx context.Context, it *item) error {
	if time.Since(w.expired) < expireEvery {
		return nil
	}
	w.expired = time.Now()
	b := w.p.Timeline.State().Current()
	// A segment stays for its own length and that of the longest playlist that listed it, after
	// it has left them all (RFC 8216bis §6.2.2).
	target := time.Duration(b.Target) * time.Second
	window := max(time.Duration(w.p.LiveWindow)*target, b.DVRWindow)
	keep := window + max(w.p.LiveGrace, window+target)
	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	dropped, err := w.p.Timeline.Expire(try, it.end.Add(-keep))
	for _, d := range dropped {
		err = errors.Join(err, w.p.Store.Delete(try, mediaKeys(&d)...))
	}
	if errors.Is(err, timeline.ErrFenced) {
		return err
	}
	if err != nil {
		w.log.Warn("old media could not be removed; the sweeper will", "error", err)
	}
	return nil
}

// mediaKeys lists the objects of what was dropped.
func mediaKeys(d *timeline.Dropped) []string {
	var keys []string
	for _, it := range d.Items {
		for _, m := range it.Media {
			if m.Stored {
				keys = append(keys, playlist.MediaKey(m.Rendition, d.Broadcast, m.Name))
			}
		}
	}
	if d.Whole {
		for _, r := range d.Renditions {
			for n := 1; n <= r.Inits; n++ {
				keys = append(keys, playlist.InitKey(r.Name, d.Broadcast, n))
			}
		}
	}
	return keys
}

// retry repeats f until it works, the context ends, the owner is fenced, the record is
// refused, or the time to give up has come.
func (w *writer) retry(ctx context.Context, what string, f func(context.Context) error) error {
	deadline := time.Now().Add(w.p.StoreGiveUp)
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		err := f(try)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || errors.Is(err, timeline.ErrFenced) || errors.Is(err, timeline.ErrRecord) || !time.Now().Before(deadline) {
			return err
		}
		w.log.Warn("writing failed, trying again", "what", what, "error", err, "wait", wait)
		w.p.Metrics.retries.WithLabelValues(what).Inc()
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// span is when a rendition's share of an item begins and how long it lasts.
func span(o *output, frames []*media.Frame) (media.Time, time.Duration) {
	if o.track.Params.Kind() == media.Video || len(frames) == 0 {
		return o.seg.info.Start, o.seg.duration()
	}
	start := frames[0].PTS
	return start, frames[len(frames)-1].End().Sub(start)
}
