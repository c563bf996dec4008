package origin

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/media/ts"
	"klive/storage"
	"klive/storage/timeline"
)

// Limits of making MPEG-TS.
const (
	maxTransmuxes = 4 // at a time
	// soundWait is how long the sound of a segment may come behind its picture.
	soundWait = 2 * time.Second
	soundPoll = 50 * time.Millisecond
)

// transmuxer makes MPEG-TS segments from stored ones: each once, however many ask, a few at a
// time. What it made last stays in memory.
type transmuxer struct {
	timelines Timelines
	media     *fetcher
	results   *prometheus.CounterVec
	turns     chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	under map[string]*making
	byKey map[string]*list.Element
	order *list.List // of *keptObject, the one used last in front
	bytes int64
}

func newTransmuxer(t Timelines, media *fetcher, results *prometheus.CounterVec) *transmuxer {
	return &transmuxer{
		timelines: t, media: media, results: results, turns: make(chan struct{}, maxTransmuxes),
		under: map[string]*making{}, byKey: map[string]*list.Element{}, order: list.New(),
	}
}

// serveTS answers for /kLive/<rendition>/<broadcast>/<start>-<epoch>.ts.
func (o *Origin) serveTS(w http.ResponseWriter, r *http.Request, key string, segments []string) (kind string) {
	segments = slices.Clone(segments)
	segments[3] = strings.TrimSuffix(segments[3], ".ts") + ".m4s"
	a, ok := parseMedia(strings.Join(segments, "/"), segments)
	if !ok || a.init > 0 {
		fail(w, http.StatusNotFound, "there is nothing at this address")
		return kindOther
	}
	m, err := o.ts.get(r.Context(), key, a)
	if err == nil {
		err = o.sendMedia(w, r, key, "video/mp2t", m.open())
	}
	if errors.Is(err, ts.ErrMux) {
		fail(w, http.StatusNotFound, "this stream's codec has no place in MPEG-TS; use manifest.mpd (DASH)")
		return kindMedia
	}
	if err != nil {
		o.failErr(w, r, err)
	}
	return kindMedia
}

// get makes a segment, or waits for who is making it.
func (x *transmuxer) get(ctx context.Context, key string, a mediaAddress) (*made, error) {
	x.mu.Lock()
	if e := x.byKey[key]; e != nil {
		x.order.MoveToFront(e)
		x.mu.Unlock()
		x.results.WithLabelValues("cached").Inc()
		return e.Value.(*keptObject).made, nil
	}
	m := x.under[key]
	first := m == nil
	if first {
		m = &making{done: make(chan struct{})}
		x.under[key] = m
	}
	x.mu.Unlock()
	if first {
		// Others wait for it, so it does not end with this viewer's patience.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), rebuildTimeout)
		defer cancel()
		x.run(bound, key, a, m)
	}
	select {
	case <-m.done:
		return m.made, m.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (x *transmuxer) run(ctx context.Context, key string, a mediaAddress, m *making) {
	m.made, m.err = x.make(ctx, key, a)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.under, key)
	result := "failed"
	if m.err == nil {
		result = "made"
		x.byKey[key] = x.order.PushFront(&keptObject{key, m.made})
		x.bytes += int64(len(m.made.data))
		for x.bytes > maxMadeBytes && x.order.Len() > 1 {
			k := x.order.Remove(x.order.Back()).(*keptObject)
			delete(x.byKey, k.key)
			x.bytes -= int64(len(k.made.data))
		}
	}
	x.results.WithLabelValues(result).Inc()
	close(m.done)
}

func (x *transmuxer) make(ctx context.Context, key string, a mediaAddress) (*made, error) {
	parts, err := x.parts(ctx, a)
	if err != nil {
		return nil, err
	}
	select {
	case x.turns <- struct{}{}:
		defer func() { <-x.turns }()
	case <-ctx.Done():
		return nil, fmt.Errorf("too many segments are being made: %w", ctx.Err())
	}
	tracks := make([]ts.MuxTrack, len(parts))
	var modified time.Time
	for i, p := range parts {
		if tracks[i], modified, err = x.track(ctx, a, p); err != nil {
			return nil, err
		}
	}
	data, err := ts.Mux(tracks...)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return &made{data: data, info: storage.Info{
		Key: key, Size: int64(len(data)), ETag: `"` + hex.EncodeToString(sum[:12]) + `"`, Modified: modified,
	}}, nil
}

// parts returns the stored media that a segment is made of: the addressed one, and the sound
// that goes with it. Sound that is on its way is waited for, because what is made is kept.
func (x *transmuxer) parts(ctx context.Context, a mediaAddress) ([]timeline.Media, error) {
	for until := time.Now().Add(soundWait); ; {
		state, err := x.timelines.State(ctx, a.entry)
		if err != nil {
			return nil, err
		}
		parts, ready, err := x.find(ctx, state, a)
		if err != nil || ready {
			return parts, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%w: the sound of %s is still on its way", errAway, a.key)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(soundPoll):
		}
	}
}

// find looks for the addressed media in the timeline. ready is false while its sound is neither
// there nor given up.
func (x *transmuxer) find(ctx context.Context, s *timeline.State, a mediaAddress) (parts []timeline.Media, ready bool, err error) {
	i := slices.IndexFunc(s.Broadcasts, func(b *timeline.Broadcast) bool { return b.ID == a.broadcast })
	if i < 0 || s.Broadcasts[i].Rendition(a.rendition) == nil {
		return nil, false, fmt.Errorf("%w: the timeline does not name %s", storage.ErrNotFound, a.key)
	}
	b := s.Broadcasts[i]
	items := b.Items
	for _, c := range b.Chapters {
		if a.start >= c.Start-media.Time(time.Second) && a.start < c.Start.Add(c.Duration) {
			past, err := x.timelines.Items(ctx, b.ID, c)
			if err != nil {
				return nil, false, err
			}
			items = slices.Concat(items, past)
		}
	}
	for i := range items {
		m := items[i].Of(a.rendition)
		if m == nil || m.Name != a.name || !m.Stored && !m.Held {
			continue
		}
		parts = []timeline.Media{*m}
		if sound := items[i].Of(b.Rendition(a.rendition).Audio); sound != nil {
			if !sound.Settled() && !sound.Held {
				return nil, false, nil
			}
			if !sound.Gap {
				parts = append(parts, *sound)
			}
		}
		return parts, true, nil
	}
	return nil, false, fmt.Errorf("%w: the timeline does not name %s, or it is a gap", storage.ErrNotFound, a.key)
}

// track reads stored media and their initialization section.
func (x *transmuxer) track(ctx context.Context, a mediaAddress, m timeline.Media) (ts.MuxTrack, time.Time, error) {
	init, _, err := x.read(ctx, a, m, fmt.Sprintf("init-%d.mp4", m.Init))
	if err != nil {
		return ts.MuxTrack{}, time.Time{}, err
	}
	data, info, err := x.read(ctx, a, m, m.Name+".m4s")
	if err != nil {
		return ts.MuxTrack{}, time.Time{}, err
	}
	h, err := mp4.ParseInit(init)
	if err != nil {
		return ts.MuxTrack{}, time.Time{}, err
	}
	samples, err := h.Segment(data)
	if err != nil {
		return ts.MuxTrack{}, time.Time{}, err
	}
	t := ts.MuxTrack{Params: h.Params, Frames: make([]media.Frame, len(samples))}
	for i, s := range samples {
		t.Frames[i] = media.Frame{DTS: h.Time(s.DTS), PTS: h.Time(s.PTS), Key: s.Key, Payload: s.Data}
	}
	return t, info.Modified, nil
}

// read reads an object of the rendition that m belongs to, as a viewer of it would.
func (x *transmuxer) read(ctx context.Context, a mediaAddress, m timeline.Media, name string) ([]byte, storage.Info, error) {
	segments := []string{"", m.Rendition, a.broadcast, name}
	segments[0], _, _ = strings.Cut(a.key, "/")
	at, ok := parseMedia(strings.Join(segments, "/"), segments)
	if !ok {
		return nil, storage.Info{}, fmt.Errorf("%w: %s", storage.ErrNotFound, name)
	}
	found, err := x.media.get(ctx, at)
	if err != nil {
		return nil, storage.Info{}, err
	}
	defer found.body.Close()
	if found.info.Size > maxMadeBytes {
		return nil, storage.Info{}, fmt.Errorf("%s has %d bytes", at.key, found.info.Size)
	}
	b, err := io.ReadAll(io.LimitReader(found.body, found.info.Size))
	return b, found.info, err
}
