package packager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage/timeline"
)

// plan describes the item's encoded renditions and adds their media to its record.
func (w *writer) plan(ctx context.Context, it *item, rec *timeline.Adopted) error {
	now := time.Now()
	for i := range it.outputs {
		o := &it.outputs[i]
		if !o.encoded() || len(o.seg.Frames(o.track.ID)) == 0 && !(o.sound != nil && o.sound.Silent) {
			continue
		}
		r := w.rendition(o)
		next := w.expected(it, o, r)
		if changed(&r.said, &next) {
			err := w.append(ctx, &timeline.Described{Rendition: next})
			if errors.Is(err, timeline.ErrRecord) {
				w.log.Error("the timeline refuses a rung, which is left out of the segment", "rendition", o.rendition, "error", err)
				continue
			}
			if err != nil {
				return err
			}
			r.said = next
		}
		m := timeline.Media{Rendition: o.rendition, Name: o.seg.Name(), Encode: &timeline.Encode{Feed: o.seg.Feed, LastPart: o.seg.Last, Job: jobOf(it, o, now)}}
		m.Start, m.Duration = span(o, nil)
		rec.Item.Media = append(rec.Item.Media, m)
	}
	return nil
}

// expected describes a rendition before anything of it is there. What is known of it then
// stays, unless something else is asked for now.
func (w *writer) expected(it *item, o *output, r *rendition) timeline.Rendition {
	d := r.said
	d.Name, d.Kind, d.Rung, d.Groups, d.Encoded = o.rendition, o.track.Params.Kind(), o.rung, o.groups, true
	if v := o.video; v != nil {
		if d.Inits == 0 || d.Width != v.Width || d.Height != v.Height {
			d.Codecs, d.Width, d.Height = v.CodecString(), v.Width, v.Height
		}
		r.rate.add(o.seg.Frames(o.track.ID))
		rate := r.rate.result(o.track.Params.(media.VideoParams).FrameRate()) / float64(v.Skip+1)
		if d.FrameRate == 0 || r.rate.segments == rateSegments {
			d.FrameRate = rate
		}
		d.Audio, d.Captions = audioOf(it, r), w.captions // the encoder keeps them
	}
	if a := o.sound; a != nil {
		d.Language = o.track.Language
		if d.Inits == 0 {
			d.Codecs, d.Channels, d.SampleRate = "mp4a.40.2", a.Channels, a.SampleRate
		}
	}
	return d
}

// finishRung sees that the result's initialization section is in place and sends the media to
// the store, which nobody waits for. It is the writer's own.
func (w *writer) finishRung(ctx context.Context, x *rungResult) error {
	kind := x.broadcast.Rendition(x.media.Rendition).Kind
	number, err := w.rungInit(ctx, x, kind)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.expect(1)
	if err != nil {
		if errors.Is(err, timeline.ErrFenced) {
			return err
		}
		x.gap(w, err)
		return nil
	}
	m := x.media
	m.Init = number
	t, _ := x.made.Track(kind)
	frames := x.made.Frames(t.ID)
	if kind == media.Audio {
		m.Start, m.Duration = frames[0].PTS, frames[len(frames)-1].End().Sub(frames[0].PTS)
	}
	w.others.Go(func() {
		pieces, err := mp4.SegmentOf(x.made, m.Rendition, kind)
		if err == nil {
			err = w.shelve(ctx, x.broadcast.ID, x.seq, &m, contentTypeOf(kind), pieces, x.of)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.Gap, m.Encode.Video = true, x.video
		}
		w.notify(notice{seq: x.seq, media: m, err: err, cause: "store", of: x.of, ordered: true})
	})
	return nil
}

// rungInit returns the number of the result's initialization section, which it stores and
// describes when it is new.
func (w *writer) rungInit(ctx context.Context, x *rungResult, kind media.Kind) (int, error) {
	t, ok := x.made.Track(kind)
	if !ok || len(x.made.Frames(t.ID)) == 0 {
		return 0, fmt.Errorf("%w: it has no frames of the kind that was asked for", live.ErrAssembly)
	}
	init, err := mp4.Init(t)
	if err != nil {
		return 0, err
	}
	b := w.p.Timeline.State().Current()
	if b.ID != x.broadcast.ID {
		for _, b := range w.p.Timeline.State().Broadcasts {
			if d := b.Rendition(x.media.Rendition); b.ID == x.broadcast.ID && d != nil && d.Inits > 0 && d.InitSum == initSum(init) {
				return d.Inits, nil
			}
		}
		return 0, errors.New("its broadcast was over before anything of the rung was made")
	}
	r := w.rendition(&output{rendition: x.media.Rendition})
	if r.init != nil && bytes.Equal(r.init, init) {
		return r.said.Inits, nil
	}
	number, err := w.putInit(ctx, x.media.Rendition, kind, init, r)
	if err != nil {
		return 0, fmt.Errorf("its initialization section could not be stored: %w", err)
	}
	next := r.said
	next.Inits, next.InitSum, next.Codecs = number, initSum(init), t.Params.CodecString()
	switch p := t.Params.(type) {
	case media.VideoParams:
		next.Width, next.Height = p.Size()
	case media.AudioParams:
		next.Channels, next.SampleRate = p.Channels(), p.SampleRate()
	}
	if changed(&r.said, &next) {
		if err := w.append(ctx, &timeline.Described{Rendition: next}); err != nil {
			return 0, err
		}
	}
	r.said, r.init = next, init
	return number, nil
}

// complete settles what is there. When the process ends and nobody takes the entry over, it
// waits for what was ordered too, at the longest for the deadlines: the parts die with the
// process.
func (w *writer) complete(ctx context.Context) error {
	for {
		if err := w.settle(ctx); err != nil {
			return err
		}
		w.mu.Lock()
		ordered := w.ordered
		w.mu.Unlock()
		if ordered == 0 || !w.p.stopped() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.news:
		}
	}
}

// stopped reports whether Stop was called: nobody takes the entry over.
func (p *Packager) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop
}
