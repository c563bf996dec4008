package flv

import (
	"bytes"
	"fmt"

	"klive/infra/media"
)

// OBU types (AV1 specification §6.2.2).
const (
	obuDelimiter   = 2
	obuFrameHeader = 3
	obuTileList    = 8
	obuFrame       = 6
	obuPadding     = 15
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

// av1Frame reads a temporal unit. What does not belong into a sample is left out: temporal
// delimiters, tile lists and padding ("AV1 Codec ISO Media File Format Binding" §2.4).
func (p *VideoParser) av1Frame(body []byte) (Unit, error) {
	if p.av1 == nil {
		return Unit{}, nil
	}
	u := Unit{}
	out, seen := body[:0], false
	err := media.WalkOBUs(body, func(typ byte, obu, payload []byte) {
		switch typ {
		case obuDelimiter, obuTileList, obuPadding:
			return
		case obuFrame, obuFrameHeader:
			if !seen && len(payload) > 0 {
				// show_existing_frame 0, frame_type KEY_FRAME
				seen, u.Key = true, payload[0]&0xe0 == 0
			}
		}
		out = append(out, obu...) // never beyond what was read
	})
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(out) > 0 {
		u.Payload = out[:len(out):len(out)]
	}
	return u, nil
}
