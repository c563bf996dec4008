package packager

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"klive/infra/media"
	"klive/infra/media/nal"
	"klive/storage/timeline"
)

// writer is the goroutine that brings what the loop decided into the timeline and the
// store, one item after the other.
type writer struct {
	p     *Packager
	log   *slog.Logger
	jobs  chan *item
	done  chan struct{}
	err   error // valid once done is closed
	saver *saver
	// others are the goroutines that settle what an owner before this one left.
	others sync.WaitGroup
	left   []left

	renditions map[string]*rendition // of the current broadcast
	rungs      *rungs                // nil without transcode workers
	captions   nal.Captions          // seen in the broadcast's pictures
	stored     int                   // items of the broadcast with media in the store

	news chan struct{} // 1: there are notices
	// mu guards the fields below.
	mu      sync.Mutex
	notices []notice
	// held counts media that are on their way to the store, or are being looked for.
	held int
	// ordered counts results of transcode workers that are to come.
	ordered  int
	finished bool // the broadcast has ended
}

// The times between tries of a write, and the longest that one try may take.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
	tryTimeout = 15 * time.Second
)

const (
	cacheForever = "public, max-age=31536000, immutable"
	typeVideo    = "video/mp4"
	typeAudio    = "audio/mp4"
)

func newWriter(p *Packager) *writer {
	w := &writer{
		p: p, log: p.log, jobs: make(chan *item), done: make(chan struct{}), news: make(chan struct{}, 1),
		renditions: map[string]*rendition{}, saver: p.saver,
	}
	if b := p.Timeline.State().Current(); b != nil && !b.Ended {
		for _, c := range b.Chapters {
			w.stored += int(c.LastSeq - c.FirstSeq + 1)
		}
		for i := range b.Items {
			if isStored(b.Items[i].Media) {
				w.stored++
			}
		}
		for i := range b.Renditions {
			if c := b.Renditions[i].Captions; len(c) > len(w.captions) {
				w.captions = c
			}
		}
	}
	if p.Jobs != nil && p.Ends != nil {
		w.rungs = newRungs(w)
	}
	w.left = w.unsettled()
	return w
}

// run writes items until the jobs are closed, the context ends or writing is no longer
// allowed.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	ctx, cancel := context.WithCancelCause(ctx)
	var saving sync.WaitGroup
	saving.Go(func() {
		if err := w.saver.run(ctx); err != nil {
			cancel(err)
		}
	})
	w.takeOver(ctx, w.left)
	if w.rungs != nil {
		w.rungs.start(ctx)
	}
	err := w.work(ctx)
	if err == nil {
		err = w.saver.flush(ctx)
	}
	cancel(err)
	saving.Wait()
	w.others.Wait()
	w.mu.Lock()
	w.p.Metrics.held.Sub(float64(w.held))
	w.held = 0
	w.mu.Unlock()
	w.err = err
}

// work writes until the jobs are closed.
func (w *writer) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.news:
			if err := w.settle(ctx); err != nil {
				return err
			}
		case it, ok := <-w.jobs:
			if !ok {
				return w.complete(ctx)
			}
			if err := w.write(ctx, it); err != nil {
				return err
			}
		}
	}
}

// write brings one item into the timeline and the store. An error means that this owner
// must stop.
func (w *writer) write(ctx context.Context, it *item) error {
	if it.final {
		return w.finish(ctx)
	}
	if err := w.open(ctx, it); err != nil {
		return err
	}
	rec, err := w.adopt(ctx, it)
	if err != nil {
		return err
	}
	if rec == nil {
		w.p.released.release(it.claims...)
		return nil
	}
	b := w.p.Timeline.State().Current()
	seq := b.Items[len(b.Items)-1].Seq
	w.announce(ctx, b, it.end)
	if err := w.store(ctx, b.ID, seq, it, rec.Item.Media); err != nil {
		return err
	}
	w.saver.save(it.end)
	return nil
}

// adopt adds the item to the timeline; the record is nil when nothing of it can be adopted.
func (w *writer) adopt(ctx context.Context, it *item) (*timeline.Adopted, error) {
	rec, err := w.adopted(ctx, it)
	if err != nil || rec == nil {
		return nil, err
	}
	err = w.append(ctx, rec)
	if errors.Is(err, timeline.ErrRecord) {
		w.log.Error("the timeline refuses a segment, which is left out", "start", it.start.Std(), "error", err)
		w.p.Metrics.gaps.WithLabelValues("refused").Inc()
		return nil, nil
	}
	return rec, err
}

// open starts a broadcast when none is open.
func (w *writer) open(ctx context.Context, it *item) error {
	if b := w.p.Timeline.State().Current(); b != nil && !b.Ended {
		return nil
	}
	clear(w.renditions)
	w.stored, w.captions = 0, nil
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
	w.saver.save(end)
	w.mu.Lock()
	w.finished = true
	w.mu.Unlock()
	return nil
}

// adopted makes the record that adopts the item; nil when nothing of it can be adopted.
func (w *writer) adopted(ctx context.Context, it *item) (*timeline.Adopted, error) {
	rec := &timeline.Adopted{Target: it.target, Independent: it.independent, Item: timeline.Item{
		Discontinuity: it.discontinuity, Start: it.start, Duration: it.end.Sub(it.start),
	}}
	if it.gap != "" {
		rec.Item.Media = gapMedia(w.p.Timeline.State().Current(), it)
	}
	w.lookForCaptions(it)
	for _, o := range w.prepare(ctx, it) {
		m, err := w.describe(ctx, it, o)
		if err != nil {
			return nil, err
		}
		if m != nil {
			rec.Item.Media = append(rec.Item.Media, *m)
		}
	}
	if err := w.plan(ctx, it, rec); err != nil {
		return nil, err
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
	if o.sound != nil {
		_, _, from, to := o.sound.Grid(o.seg.Start(), o.seg.End())
		return from, to.Sub(from)
	}
	if o.track.Params.Kind() == media.Video || len(frames) == 0 {
		return o.seg.Start(), o.seg.Duration()
	}
	start := frames[0].PTS
	return start, frames[len(frames)-1].End().Sub(start)
}
