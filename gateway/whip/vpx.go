package whip

import (
	rtp "github.com/pion/rtp/codecs"

	"klive/infra/media"
)

// vp8 puts frames of VP8 together (RFC 7741).
type vp8 struct {
	buf         []byte
	some, opens bool
	params      *media.VP8
}

func (v *vp8) reset() { v.buf, v.some, v.opens = nil, false, false }

func (v *vp8) entry() bool { return v.opens }

func (v *vp8) add(p []byte) error {
	var h rtp.VP8Packet
	b, err := h.Unmarshal(p)
	if err != nil || len(v.buf)+len(b) > maxUnit {
		return errPacket
	}
	if !v.some {
		v.some = true
		if h.S == 0 || h.PID != 0 || len(b) == 0 {
			return errPacket // the frame's beginning is missing
		}
		v.opens = b[0]&1 == 0
	}
	v.buf = append(v.buf, b...)
	return nil
}

func (v *vp8) take(uint32) (unit, error) {
	body := v.buf
	v.reset()
	if len(body) == 0 {
		return unit{}, nil
	}
	u := unit{Key: body[0]&1 == 0}
	if u.Key {
		params, err := media.NewVP8(body)
		if err != nil {
			return unit{}, errPacket
		}
		if v.params == nil || !v.params.Equal(params) {
			v.params, u.Params = params, params
		}
	}
	if v.params != nil {
		u.Payload = body
	}
	return u, nil
}

// vp9 puts frames of VP9 together (RFC 9628). Of spatial layers the base is taken.
type vp9 struct {
	buf         []byte
	some, opens bool
	params      *media.VP9
}

func (v *vp9) reset() { v.buf, v.some, v.opens = nil, false, false }

func (v *vp9) entry() bool { return v.opens }

func (v *vp9) add(p []byte) error {
	var h rtp.VP9Packet
	b, err := h.Unmarshal(p)
	if err != nil || len(v.buf)+len(b) > maxUnit {
		return errPacket
	}
	if h.L && h.SID > 0 {
		return nil
	}
	if !v.some {
		v.some = true
		if !h.B {
			return errPacket // the frame's beginning is missing
		}
		v.opens = !h.P
	}
	v.buf = append(v.buf, b...)
	return nil
}

func (v *vp9) take(uint32) (unit, error) {
	body := v.buf
	v.reset()
	if len(body) == 0 {
		return unit{}, nil
	}
	var u unit
	if params, err := media.NewVP9(body); err == nil { // that is, a keyframe
		u.Key = true
		if v.params == nil || !v.params.Equal(params) {
			v.params, u.Params = params, params
		}
	}
	if v.params != nil {
		u.Payload = body
	}
	return u, nil
}
