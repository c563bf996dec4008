package packager

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// rendition is what the writer remembers of an output of the current broadcast.
type rendition struct {
	said timeline.Rendition // as it was described last
	init []byte             // the newest initialization section; nil after a restart
	rate rateMeter
}

// prepare stores the output's initialization section when it is new, describes the
// rendition when something of it changed, and returns the media to adopt: nil when the
// output has no frames or its section can't be stored.
func (w *writer) prepare(ctx context.Context, it *item, o *output) (*timeline.Media, error) {
	frames := o.seg.frames(o.track.ID)
	if len(frames) == 0 {
		w.log.Warn("a track sent nothing in a segment; the playlist shows a gap", "rendition", o.rendition, "start", it.start.Std())
		w.p.Metrics.gaps.WithLabelValues("empty").Inc()
		return nil, nil
	}
	r := w.rendition(o)
	if o.track.Params.Kind() == media.Video {
		r.rate.add(frames)
	}
	init, err := mp4.Init(o.track)
	if err != nil {
		w.log.Error("a track can't be put into MP4; the playlist shows a gap", "rendition", o.rendition, "error", err)
		w.p.Metrics.gaps.WithLabelValues("init").Inc()
		return nil, nil
	}
	next := w.describe(it, o, r)
	if !bytes.Equal(init, r.init) {
		if next.Inits, err = w.putInit(ctx, o, next.Inits+1, init); err != nil {
			return nil, w.noInit(ctx, o, err)
		}
	}
	if changed(&r.said, &next) {
		err := w.append(ctx, &timeline.Described{Rendition: next})
		if errors.Is(err, timeline.ErrRecord) {
			return nil, w.noInit(ctx, o, err)
		}
		if err != nil {
			return nil, err
		}
	}
	r.said, r.init = next, init
	m := &timeline.Media{Rendition: o.rendition, Name: o.seg.info.Name(o.seg.feed), Init: next.Inits,
		Feed: o.seg.feed, FirstPart: o.seg.first, LastPart: o.seg.last}
	m.Start, m.Duration = span(o, frames)
	return m, nil
}

// putInit stores an initialization section under the number n, or under the next one when
// an owner before this one has left another section there.
func (w *writer) putInit(ctx context.Context, o *output, n int, init []byte) (int, error) {
	b := w.p.Timeline.State().Current()
	err := w.retry(ctx, "init", func(ctx context.Context) error {
		_, err := w.p.Store.Put(ctx, playlist.InitKey(o.rendition, b.ID, n), [][]byte{init},
			storage.PutOptions{ContentType: contentType(o), CacheControl: cacheForever, IfAbsent: true})
		if errors.Is(err, storage.ErrPrecondition) {
			n++
		}
		return err
	})
	return n, err
}

// noInit says that an output has no initialization section; the error is nil unless the
// context has ended.
func (w *writer) noInit(ctx context.Context, o *output, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.log.Error("an initialization section could not be stored; the playlist shows a gap", "rendition", o.rendition, "error", err)
	w.p.Metrics.gaps.WithLabelValues("init").Inc()
	return nil
}

// rendition returns what is remembered of the output, from the timeline after a restart.
func (w *writer) rendition(o *output) *rendition {
	r := w.renditions[o.rendition]
	if r == nil {
		r = &rendition{}
		if old := w.p.Timeline.State().Current().Rendition(o.rendition); old != nil {
			r.said = *old
		}
		w.renditions[o.rendition] = r
	}
	return r
}

// describe returns the rendition as this item shows it.
func (w *writer) describe(it *item, o *output, r *rendition) timeline.Rendition {
	d := timeline.Rendition{
		Name: o.rendition, Kind: o.track.Params.Kind(), Rung: o.rung, Groups: o.groups,
		Codecs: o.track.Params.CodecString(), Inits: r.said.Inits,
	}
	switch p := o.track.Params.(type) {
	case media.VideoParams:
		d.Width, d.Height = p.Size()
		d.FrameRate = r.rate.result(p.FrameRate())
		d.Audio = r.said.Audio
		if i := slices.IndexFunc(it.outputs, func(o output) bool { return o.audio }); i >= 0 {
			d.Audio = it.outputs[i].rendition
		}
	case media.AudioParams:
		d.Channels, d.SampleRate = p.Channels(), p.SampleRate()
	}
	return d
}

// changed compares what a description says; the fold keeps the rest.
func changed(a, b *timeline.Rendition) bool {
	return a.Name != b.Name || a.Codecs != b.Codecs || a.Width != b.Width || a.Height != b.Height || a.FrameRate != b.FrameRate ||
		a.Channels != b.Channels || a.SampleRate != b.SampleRate || a.Audio != b.Audio || a.Inits != b.Inits ||
		!slices.Equal(a.Groups, b.Groups) || !sameRung(&a.Rung, &b.Rung)
}

func sameRung(a, b *live.Rung) bool {
	return a.ParamsID == b.ParamsID && a.Name == b.Name && a.AssetID == b.AssetID && slices.Equal(a.Tags, b.Tags)
}

// store puts the item's media into the store, all renditions at once, and returns them as
// stored or, when the store took one not, as a gap.
func (w *writer) store(ctx context.Context, broadcast string, it *item, adopted []timeline.Media) []timeline.Media {
	out := make([]timeline.Media, 0, len(adopted))
	for _, m := range adopted {
		if !m.Gap {
			out = append(out, m)
		}
	}
	var wg sync.WaitGroup
	for i := range out {
		o := it.output(out[i].Rendition)
		wg.Go(func() { w.storeMedia(ctx, broadcast, o, &out[i]) })
	}
	wg.Wait()
	return out
}

func (w *writer) storeMedia(ctx context.Context, broadcast string, o *output, m *timeline.Media) {
	pieces, err := mp4.Segment(o.track.Params, o.seg.frames(o.track.ID), uint32(o.seg.info.Number))
	if err == nil {
		err = w.put(ctx, playlist.MediaKey(m.Rendition, broadcast, m.Name), contentType(o), pieces)
	}
	if err != nil {
		if ctx.Err() == nil {
			w.log.Error("a segment could not be stored; the playlist shows a gap", "rendition", m.Rendition, "segment", m.Name, "error", err)
			w.p.Metrics.gaps.WithLabelValues("store").Inc()
		}
		m.Gap = true
		return
	}
	m.Stored = true
	for _, p := range pieces {
		m.Size += int64(len(p))
	}
	w.p.Metrics.segments.Inc()
	w.p.Metrics.bytes.Add(float64(m.Size))
}

// put writes a segment, with retries. That it exists is success: its name says what is in it.
func (w *writer) put(ctx context.Context, key, contentType string, data [][]byte) error {
	return w.retry(ctx, "media", func(ctx context.Context) error {
		_, err := w.p.Store.Put(ctx, key, data, storage.PutOptions{ContentType: contentType, CacheControl: cacheForever, IfAbsent: true})
		if errors.Is(err, storage.ErrPrecondition) {
			return nil
		}
		return err
	})
}

func (it *item) output(rendition string) *output {
	return &it.outputs[slices.IndexFunc(it.outputs, func(o output) bool { return o.rendition == rendition })]
}

func contentType(o *output) string {
	if o.track.Params.Kind() == media.Audio {
		return typeAudio
	}
	return typeVideo
}

// rateMeter measures a frame rate over the first segments of a track.
type rateMeter struct {
	segments, frames int
	duration         time.Duration
}

// rateSegments is over how many segments the frame rate is measured.
const rateSegments = 4

func (m *rateMeter) add(frames []*media.Frame) {
	if m.segments == rateSegments {
		return
	}
	m.segments++
	for _, f := range frames {
		m.frames++
		m.duration += f.Duration
	}
}

// rates are those that measured ones are taken for when they are near.
var rates = [...]float64{24000.0 / 1001, 24, 25, 30000.0 / 1001, 30, 48, 50, 60000.0 / 1001, 60, 100, 120000.0 / 1001, 120}

// result returns what the parameter sets state, else what was measured, in frames per
// second with three decimals.
func (m *rateMeter) result(stated float64) float64 {
	rate := stated
	if rate == 0 && m.duration > 0 {
		rate = float64(m.frames) / m.duration.Seconds()
		best := slices.MinFunc(rates[:], func(a, b float64) int {
			return int(math.Copysign(1, math.Abs(a-rate)-math.Abs(b-rate)))
		})
		if math.Abs(best-rate) < best*0.002 {
			rate = best
		}
	}
	return math.Round(rate*1000) / 1000
}
