package flv

import (
	"bytes"
	"fmt"

	"klive/infra/media"
)

// vp9 is what is known of a VP9 track: its VPCodecConfigurationRecord comes first ("VP Codec ISO
// Media File Format Binding" §2.2), and the size with a keyframe.
type vp9 struct {
	level  byte       // ten times the level that the record states, or 0
	params *media.VP9 // nil before the first keyframe
}

// vp9Record is the record's length in bytes; vp9Box is what stands before it in a vpcC box, whose
// whole body some encoders send.
const vp9Record = 8

var vp9Box = []byte{1, 0, 0, 0}

// vp9Sequence takes a codec configuration record over.
func (p *VideoParser) vp9Sequence(record []byte) (Unit, error) {
	if len(record) == len(vp9Box)+vp9Record {
		record = bytes.TrimPrefix(record, vp9Box)
	}
	if len(record) != vp9Record || record[0] > 3 || record[6] != 0 || record[7] != 0 {
		return Unit{}, fmt.Errorf("%w: a VP9 configuration record of %d bytes", ErrMalformed, len(record))
	}
	if p.vp9 == nil || p.vp9.level != record[1] {
		p.vp9 = &vp9{level: record[1]}
	}
	return Unit{}, nil
}

// vp9Frame reads a frame or superframe. Pictures before the first keyframe have no parameters,
// and can't be decoded.
func (p *VideoParser) vp9Frame(body []byte) (Unit, error) {
	if p.vp9 == nil || len(body) == 0 {
		return Unit{}, nil
	}
	if body[0]>>6 != 2 { // frame_marker (VP9 bitstream specification §6.2)
		return Unit{}, fmt.Errorf("%w: not a VP9 frame", ErrMalformed)
	}
	u := Unit{Payload: body}
	if params, err := media.NewVP9(body); err == nil { // that is, a keyframe
		u.Key = true
		if p.vp9.level != 0 {
			params.Level = p.vp9.level
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
