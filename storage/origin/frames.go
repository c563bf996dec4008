package origin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/media/ts"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// track reads stored media and their initialization section.
func (f *fetcher) track(ctx context.Context, broadcast string, m timeline.Media) (ts.MuxTrack, time.Time, error) {
	init, _, err := f.read(ctx, broadcast, m.Rendition, fmt.Sprintf("init-%d.mp4", m.Init))
	if err != nil {
		return ts.MuxTrack{}, time.Time{}, err
	}
	data, info, err := f.read(ctx, broadcast, m.Rendition, m.Name+".m4s")
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

// read reads a whole object, as a viewer would.
func (f *fetcher) read(ctx context.Context, broadcast, rendition, name string) ([]byte, storage.Info, error) {
	segments := []string{playlist.Root, rendition, broadcast, name}
	at, ok := parseMedia(strings.Join(segments, "/"), segments)
	if !ok {
		return nil, storage.Info{}, fmt.Errorf("%w: %s", storage.ErrNotFound, name)
	}
	found, err := f.get(ctx, at)
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
