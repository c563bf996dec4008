package mp4

import (
	"errors"
	"fmt"

	"klive/infra/media"
)

// Assembly is a segment of a stream's tracks that is put together from what was sent.
type Assembly interface {
	// TrackOf returns the track that a rendition of a kind is made of.
	TrackOf(rendition string, kind media.Kind) (media.Track, bool)
	// Frames returns the segment's frames of a track, in decode order.
	Frames(id media.TrackID) []*media.Frame
	// Number is the segment's in its stream.
	Number() uint64
}

// ErrNoTrack is returned for a rendition that an assembly has no track for.
var ErrNoTrack = errors.New("mp4: the segment has no such track")

// InitOf returns the initialization section that goes with the segment's media of a
// rendition.
func InitOf(a Assembly, rendition string, kind media.Kind) ([]byte, error) {
	t, err := trackOf(a, rendition, kind)
	if err != nil {
		return nil, err
	}
	return Init(t)
}

// SegmentOf returns the segment's media of a rendition, in pieces. It is a function of the assembly
// alone: its first owner, the one after it and every origin make the same bytes.
func SegmentOf(a Assembly, rendition string, kind media.Kind) ([][]byte, error) {
	t, err := trackOf(a, rendition, kind)
	if err != nil {
		return nil, err
	}
	return Segment(t.Params, a.Frames(t.ID), uint32(a.Number()))
}

func trackOf(a Assembly, rendition string, kind media.Kind) (media.Track, error) {
	t, ok := a.TrackOf(rendition, kind)
	if !ok {
		return t, fmt.Errorf("%w: segment %d, %v of %s", ErrNoTrack, a.Number(), kind, rendition)
	}
	return t, nil
}
