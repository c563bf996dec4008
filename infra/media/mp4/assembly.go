package mp4

import (
	"errors"
	"fmt"

	"klive/infra/media"
)

// Assembly is a segment of a stream's tracks that is put together from what was sent.
type Assembly interface {
	// Track returns the track that renditions of a kind are made of.
	Track(kind media.Kind) (media.Track, bool)
	// Frames returns the segment's frames of a track, in decode order.
	Frames(id media.TrackID) []*media.Frame
	// Number is the segment's in its stream.
	Number() uint64
}

// ErrNoTrack is returned for a kind of media that an assembly does not have.
var ErrNoTrack = errors.New("mp4: the segment has no such track")

// InitOf returns the initialization section that goes with the segment's media of a kind.
func InitOf(a Assembly, kind media.Kind) ([]byte, error) {
	t, err := trackOf(a, kind)
	if err != nil {
		return nil, err
	}
	return Init(t)
}

// SegmentOf returns the segment's media of a kind, in pieces. It is a function of the assembly
// alone: its first owner, the one after it and every origin make the same bytes.
func SegmentOf(a Assembly, kind media.Kind) ([][]byte, error) {
	t, err := trackOf(a, kind)
	if err != nil {
		return nil, err
	}
	return Segment(t.Params, a.Frames(t.ID), uint32(a.Number()))
}

func trackOf(a Assembly, kind media.Kind) (media.Track, error) {
	t, ok := a.Track(kind)
	if !ok {
		return t, fmt.Errorf("%w: segment %d, kind %v", ErrNoTrack, a.Number(), kind)
	}
	return t, nil
}
