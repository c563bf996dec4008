package flv

import (
	"bytes"
	"fmt"

	"klive/infra/media"
)

// vp9 is what is known of a VP9 track: the record comes first, and the size with a keyframe.
type vp9 struct {
	record []byte
	params *media.VP9 // nil before the first keyframe
}

// vp9Sequence takes a codec configuration record over.
func (p *VideoParser) vp9Sequence(record []byte) (Unit, error) {
	if _, err := media.NewVP9(record, 1, 1); err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.vp9 == nil || !bytes.Equal(p.vp9.record, record) {
		p.vp9 = &vp9{record: bytes.Clone(record)}
	}
	return Unit{}, nil
}

// vp9Frame reads a frame or superframe. Pictures before the first keyframe have no parameters,
// and can't be decoded.
func (p *VideoParser) vp9Frame(body []byte) (Unit, error) {
	if p.vp9 == nil || len(body) == 0 {
		return Unit{}, nil
	}
	key, width, height, err := media.VP9Frame(body)
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	u := Unit{Payload: body, Key: key}
	if key {
		params, err := media.NewVP9(p.vp9.record, width, height)
		if err != nil {
			return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if p.vp9.params == nil || !p.vp9.params.Equal(params) {
			p.vp9.params, u.Params = params, params
		}
	}
	if p.vp9.params == nil {
		return Unit{}, nil
	}
	return u, nil
}
