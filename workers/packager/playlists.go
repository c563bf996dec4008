package packager

import (
	"context"
	"errors"
	"math"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

const typePlaylist = "application/vnd.apple.mpegurl"

// playlists writes the head, which proves that this owner may, and then the playlists that
// keep a player going when no origin runs. What has not changed is not written again.
func (s *saver) playlists(ctx context.Context) error {
	if err := s.p.Timeline.Save(ctx); err != nil {
		return err
	}
	state := s.p.Timeline.State()
	if err := s.storeLists(ctx, playlist.Stored(state, s.p.LiveWindow)); err != nil {
		return err
	}
	// What the DVR window holds costs as much as the window is long, so it is written when enough
	// media have come to outweigh it, and at the end.
	b := playlist.OnAir(state)
	if b == nil || b.DVRWindow <= 0 {
		return nil
	}
	mark := markOf(b)
	if !b.Ended && !s.dvrWorth(b, mark) {
		return nil
	}
	past, err := s.past(ctx, state)
	s.setDamage(err)
	if unreadable(err) {
		s.log.Error("a chapter of the DVR window can't be read; the stored DVR playlists stay as they are", "error", err)
		// The next try comes with time, not with media.
		s.dvrWritten, s.dvrBytes = mark, math.MaxInt64/dvrShare
		return nil
	}
	if err != nil {
		return err
	}
	files := playlist.StoredDVR(state, s.p.LiveWindow, past)
	if err := s.storeLists(ctx, files); err != nil {
		return err
	}
	s.dvrWritten, s.dvrBytes, s.dvrMedia = mark, 0, weight(b)
	for _, f := range files {
		s.dvrBytes += int64(len(f.Text))
	}
	return nil
}

// The stored playlists of the DVR window weigh at most a hundredth of the media, but are
// written anew after an eighth of the window at the latest.
const (
	dvrShare = 100
	dvrParts = 8
)

// dvrWorth reports whether enough has come since the stored DVR playlists were written.
func (s *saver) dvrWorth(b *timeline.Broadcast, m mark) bool {
	was := s.dvrWritten
	return was.broadcast != m.broadcast || weight(b)-s.dvrMedia >= dvrShare*s.dvrBytes || m.at.Sub(was.at) >= b.DVRWindow/dvrParts
}

// unreadable reports whether an error of loading a chapter says that trying again will not help.
func unreadable(err error) bool {
	return errors.Is(err, timeline.ErrDamaged) || errors.Is(err, timeline.ErrVersion) || errors.Is(err, storage.ErrNotFound)
}

// weight is what the media of a broadcast weigh so far, in bytes.
func weight(b *timeline.Broadcast) (n int64) {
	for i := range b.Renditions {
		n += b.Renditions[i].Bytes
	}
	return n
}

// mark is the state for which the DVR playlists were stored.
type mark struct {
	broadcast string
	at        media.Time // where the broadcast ended
}

func markOf(b *timeline.Broadcast) mark {
	m := mark{broadcast: b.ID, at: b.Start}
	if n := len(b.Items); n > 0 {
		m.at = b.Items[n-1].End()
	}
	return m
}

// past loads the closed chapters of the DVR window.
func (s *saver) past(ctx context.Context, state *timeline.State) ([]playlist.Past, error) {
	b := playlist.OnAir(state)
	chapters := playlist.DVRChapters(b)
	past := make([]playlist.Past, len(chapters))
	for i, c := range chapters {
		items, err := s.p.Chapters(ctx, b.ID, c)
		if err != nil {
			return nil, err
		}
		past[i].Items = items
	}
	return past, nil
}

// storeLists writes the playlists that differ from what was written last.
func (s *saver) storeLists(ctx context.Context, files []playlist.File) error {
	for _, f := range files {
		if s.lists[f.Key] == f.Text {
			continue
		}
		if _, err := s.p.Store.Put(ctx, f.Key, [][]byte{[]byte(f.Text)}, storage.PutOptions{ContentType: typePlaylist}); err != nil {
			return err
		}
		s.lists[f.Key] = f.Text
	}
	return nil
}
