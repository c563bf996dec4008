package packager

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
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

// prepared is an output whose initialization section rests on the shelf.
type prepared struct {
	*output
	frames []*media.Frame
	init   []byte
	number int // of init
	err    error
}

// prepare makes the outputs' initialization sections and stores those that are new, all at
// once. It leaves out outputs that have no frames or whose section can't be made.
func (w *writer) prepare(ctx context.Context, it *item) []*prepared {
	var list []*prepared
	for i := range it.outputs {
		o := &prepared{output: &it.outputs[i]}
		if o.encoded() {
			continue
		}
		o.frames = o.seg.Frames(o.track.ID)
		if len(o.frames) == 0 {
			w.log.Warn("a track sent nothing in a segment; the playlist shows a gap", "rendition", o.rendition, "start", it.start.Std())
			w.p.Metrics.gaps.WithLabelValues("empty").Inc()
			continue
		}
		var err error
		if o.init, err = mp4.Init(o.track); err != nil {
			w.log.Error("a track can't be put into MP4; the playlist shows a gap", "rendition", o.rendition, "error", err)
			w.p.Metrics.gaps.WithLabelValues("init").Inc()
			continue
		}
		list = append(list, o)
	}
	var wg sync.WaitGroup
	for _, o := range list {
		r := w.rendition(o.output)
		if o.number = r.said.Inits; bytes.Equal(o.init, r.init) {
			continue
		}
		wg.Go(func() { o.number, o.err = w.putInit(ctx, o.rendition, o.track.Params.Kind(), o.init, r) })
	}
	wg.Wait()
	return list
}

// describe describes the rendition when something of it changed, and returns the media to
// adopt: nil when its initialization section can't be stored or the timeline refuses it.
func (w *writer) describe(ctx context.Context, it *item, o *prepared) (*timeline.Media, error) {
	if o.err != nil {
		return nil, w.noInit(ctx, o.rendition, o.err)
	}
	r := w.rendition(o.output)
	if o.track.Params.Kind() == media.Video {
		if r.init == nil && o.number == r.said.Inits {
			r.rate.known = r.said.FrameRate // the owner before this one has measured it
		}
		r.rate.add(o.frames)
	}
	next := w.description(it, o, r)
	if changed(&r.said, &next) {
		err := w.append(ctx, &timeline.Described{Rendition: next})
		if errors.Is(err, timeline.ErrRecord) {
			return nil, w.noInit(ctx, o.rendition, err)
		}
		if err != nil {
			return nil, err
		}
	}
	r.said, r.init = next, o.init
	m := &timeline.Media{Rendition: o.rendition, Init: next.Inits,
		Feed: o.seg.Feed, FirstPart: o.seg.First, LastPart: o.seg.Last, From: o.seg.From}
	m.Start, m.Duration = span(o.output, o.frames)
	named := o.seg.Segment
	named.Start = m.Start // sound rarely begins with its item, and DASH addresses media by their time
	m.Name = named.Name(o.seg.Feed)
	return m, nil
}

// putInit stores an initialization section and returns its number. One that an owner before
// this one has described keeps its number, but may never have got from there to the store. A
// new one goes under the next number that nobody has used.
func (w *writer) putInit(ctx context.Context, name string, kind media.Kind, init []byte, r *rendition) (int, error) {
	b := w.p.Timeline.State().Current()
	put := func(n int) error {
		held, err := w.put(ctx, playlist.InitKey(name, b.ID, n), contentTypeOf(kind), [][]byte{init}, func(err error) {
			w.notify(notice{rendition: name, err: err})
		})
		if held {
			w.hold(1)
		}
		return err
	}
	n := r.said.Inits
	if r.init == nil && n > 0 && w.sameInit(ctx, name, init, r, b.ID) {
		if err := put(n); err != nil && !errors.Is(err, storage.ErrPrecondition) {
			return n, err
		}
		return n, nil
	}
	for {
		n++
		if err := put(n); !errors.Is(err, storage.ErrPrecondition) {
			return n, err
		}
	}
}

// sameInit reports whether the section that was described last is this one.
func (w *writer) sameInit(ctx context.Context, name string, init []byte, r *rendition, broadcast string) bool {
	if r.said.InitSum != "" {
		return r.said.InitSum == initSum(init)
	}
	// An older release described it: the store knows.
	try, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	body, _, err := w.p.Store.Get(try, playlist.InitKey(name, broadcast, r.said.Inits), nil)
	if err != nil {
		return false
	}
	defer body.Close()
	old, err := io.ReadAll(io.LimitReader(body, int64(len(init))+1))
	return err == nil && bytes.Equal(old, init)
}

func initSum(init []byte) string {
	sum := sha256.Sum256(init)
	return hex.EncodeToString(sum[:12])
}

// settleInit hears what became of a section that was held. One that was given up is stored
// again with the next segment, under another number.
func (w *writer) settleInit(n *notice) {
	if n.err == nil {
		return
	}
	w.log.Error("an initialization section could not be stored; what was packaged with it can't be played", "rendition", n.rendition, "error", n.err)
	if r := w.renditions[n.rendition]; r != nil {
		r.init, r.said.InitSum = []byte{}, ""
	}
}

// noInit says that an output has no initialization section; the error is nil unless the
// context has ended.
func (w *writer) noInit(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.log.Error("an initialization section could not be stored; the playlist shows a gap", "rendition", name, "error", err)
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

// description returns the rendition as this item shows it.
func (w *writer) description(it *item, o *prepared, r *rendition) timeline.Rendition {
	d := timeline.Rendition{
		Name: o.rendition, Kind: o.track.Params.Kind(), Rung: o.rung, Groups: o.groups,
		Codecs: o.track.Params.CodecString(), Inits: o.number, InitSum: initSum(o.init),
	}
	switch p := o.track.Params.(type) {
	case media.VideoParams:
		d.Width, d.Height = p.DisplaySize()
		d.FrameRate = r.rate.result(p.FrameRate())
		d.Audio, d.Captions = audioOf(it, r), w.captions
	case media.AudioParams:
		d.Channels, d.SampleRate, d.Language = p.Channels(), p.SampleRate(), o.track.Language
	}
	return d
}

// audioOf names the audio rendition that goes with an item's pictures.
func audioOf(it *item, r *rendition) string {
	if i := slices.IndexFunc(it.outputs, func(o output) bool { return o.audio }); i >= 0 {
		return it.outputs[i].rendition
	}
	return r.said.Audio
}

// changed compares what a description says; the fold keeps the rest.
func changed(a, b *timeline.Rendition) bool {
	return a.Name != b.Name || a.Encoded != b.Encoded || a.Codecs != b.Codecs || a.Width != b.Width || a.Height != b.Height || a.FrameRate != b.FrameRate ||
		a.Channels != b.Channels || a.SampleRate != b.SampleRate || a.Audio != b.Audio || a.Language != b.Language || a.Inits != b.Inits || a.InitSum != b.InitSum ||
		!slices.Equal(a.Captions, b.Captions) || !slices.Equal(a.Groups, b.Groups) || !sameRung(&a.Rung, &b.Rung)
}

func sameRung(a, b *live.Rung) bool {
	return a.ParamsID == b.ParamsID && a.Name == b.Name && a.AssetID == b.AssetID && slices.Equal(a.Tags, b.Tags)
}

func (it *item) output(rendition string) *output {
	return &it.outputs[slices.IndexFunc(it.outputs, func(o output) bool { return o.rendition == rendition })]
}

func contentTypeOf(kind media.Kind) string {
	if kind == media.Audio {
		return typeAudio
	}
	return typeVideo
}

// rateMeter measures a frame rate over the first segments of a track.
type rateMeter struct {
	segments, frames int
	duration         time.Duration
	known            float64 // measured before; 0 when not
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
	if rate == 0 && m.known > 0 {
		return m.known
	}
	if rate == 0 && m.duration > 0 {
		rate = float64(m.frames) / m.duration.Seconds()
		best := slices.MinFunc(rates[:], func(a, b float64) int {
			return cmp.Compare(math.Abs(a-rate), math.Abs(b-rate))
		})
		if math.Abs(best-rate) < best*0.002 {
			rate = best
		}
	}
	return math.Round(rate*1000) / 1000
}
