package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// transmuxer makes MPEG-TS segments from stored ones.
type transmuxer struct {
	timelines Timelines
	media     *fetcher
	kept      *memo
}

func newTransmuxer(t Timelines, media *fetcher, results *prometheus.CounterVec) *transmuxer {
	return &transmuxer{timelines: t, media: media, kept: newMemo(maxTransmuxes, maxMadeBytes, rebuildTimeout, results)}
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
	m, err := o.ts.kept.get(r.Context(), key, func(ctx context.Context) (*made, error) { return o.ts.make(ctx, key, a) })
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

func (x *transmuxer) make(ctx context.Context, key string, a mediaAddress) (*made, error) {
	parts, err := x.parts(ctx, a)
	if err != nil {
		return nil, err
	}
	tracks := make([]ts.MuxTrack, len(parts))
	var modified time.Time
	for i, p := range parts {
		if tracks[i], modified, err = x.media.track(ctx, a.broadcast, p); err != nil {
			return nil, err
		}
	}
	data, err := ts.Mux(tracks...)
	if err != nil {
		return nil, err
	}
	return &made{data: data, info: storage.Info{
		Key: key, Size: int64(len(data)), ETag: tag(data), Modified: modified,
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
		if a.within(c) {
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
