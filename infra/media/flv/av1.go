package flv

import (
	"bytes"
	"fmt"

	"klive/infra/media"
)

// av1Sequence takes a codec configuration record over.
func (p *VideoParser) av1Sequence(record []byte) (Unit, error) {
	params, err := media.NewAV1(bytes.Clone(record))
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.av1 != nil && p.av1.Equal(params) {
		return Unit{}, nil
	}
	p.av1 = params
	return Unit{Params: params}, nil
}

// av1Frame reads a temporal unit.
func (p *VideoParser) av1Frame(body []byte) (Unit, error) {
	if p.av1 == nil {
		return Unit{}, nil
	}
	sample, key, _, err := media.TrimAV1(body)
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	u := Unit{Key: key}
	if len(sample) > 0 {
		u.Payload = sample
	}
	return u, nil
}
