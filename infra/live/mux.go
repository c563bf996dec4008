package live

import (
	"fmt"

	"klive/infra/media"
	"klive/infra/media/mp4"
)

// Init returns the initialization section that the segment's media of a kind go with.
func (a *Assembly) Init(kind media.Kind) ([]byte, error) {
	t, err := a.track(kind)
	if err != nil {
		return nil, err
	}
	return mp4.Init(t)
}

// Media returns the segment's media object of a kind, in pieces. Whoever has the same parts
// makes the same bytes: its first owner, the one after it, and every origin.
func (a *Assembly) Media(kind media.Kind) ([][]byte, error) {
	t, err := a.track(kind)
	if err != nil {
		return nil, err
	}
	return mp4.Segment(t.Params, a.Frames(t.ID), uint32(a.Segment.Number))
}

func (a *Assembly) track(kind media.Kind) (media.Track, error) {
	t, ok := a.Track(kind)
	if !ok {
		return t, fmt.Errorf("%w: segment %d of %s has no track of kind %v", ErrAssembly, a.Segment.Number, a.Feed, kind)
	}
	return t, nil
}
