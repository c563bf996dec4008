package nal

import (
	"bytes"
	"encoding/binary"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"klive/infra/media"
)

// Closed captions travel with pictures: three bytes at a time (cc_data, CTA-708 §4.4), in a message
// that ITU-T T.35 leaves to ATSC (A/53 part 4 §6.2.3).
const (
	seiRegistered = 4 // ITU-T H.264 §D.1.6, H.265 §D.2.6
	obuMetadata   = 5
	metadataT35   = 4 // AV1 specification §6.7.1

	hevcSEISuffix = 40       // a message behind its picture (ITU-T H.265 table 7-1)
	maxSEI        = 64 << 10 // bytes of a unit that is looked into

	ccBytes = 3
	// maxCC is how many of them one message holds.
	maxCC = 31
)

// t35ATSC is the country and the provider, the user identifier and the type of a message with
// caption data.
var t35ATSC = []byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 0x03}

// CaptionData returns the caption data of an access unit as [media.Frame] holds it, in pieces of three
// bytes, without those that are padding; nil when it has none.
func CaptionData(params media.Params, au []byte) (cc []byte) {
	switch params.(type) {
	case *media.H264:
		return nalCaptions(au, false)
	case *media.HEVC:
		return nalCaptions(au, true)
	case *media.AV1:
		_ = media.WalkOBUs(au, func(typ byte, _, payload []byte) { // what lies before damage counts
			if typ == obuMetadata && len(payload) > 0 && payload[0] == metadataT35 {
				cc = appendATSC(cc, payload[1:])
			}
		})
	}
	return cc
}

// nalCaptions returns the caption data of an access unit of NAL units, as far as that is whole.
func nalCaptions(au []byte, hevc bool) (cc []byte) {
	for len(au) > 4 {
		n := int(binary.BigEndian.Uint32(au))
		if n > len(au)-4 {
			return cc
		}
		unit := au[4 : 4+n]
		au = au[4+n:]
		switch {
		case n < 3 || n > maxSEI:
		case hevc:
			if t := unit[0] >> 1 & 0x3f; t == hevcSEI || t == hevcSEISuffix {
				cc = appendCaptions(cc, unit[2:])
			}
		case unit[0]&0x1f == avcSEI:
			cc = appendCaptions(cc, unit[1:])
		}
	}
	return cc
}

// appendCaptions appends the caption data of an SEI unit's messages.
func appendCaptions(cc, unit []byte) []byte {
	if !bytes.Contains(unit, t35ATSC[3:7]) {
		return cc // most are something else
	}
	b := h264.EmulationPreventionRemove(unit) // the same in H.265
	for len(b) >= 2 {
		typ, rest, ok := seiNumber(b)
		if !ok {
			break
		}
		size, rest, ok := seiNumber(rest)
		if !ok || size > len(rest) {
			break
		}
		if typ == seiRegistered {
			cc = appendATSC(cc, rest[:size])
		}
		b = rest[size:]
	}
	return cc
}

// appendATSC appends the caption data of a registered message.
func appendATSC(cc, b []byte) []byte {
	b, ok := bytes.CutPrefix(b, t35ATSC)
	if !ok || len(b) < 2 || b[0]&0x40 == 0 { // process_cc_data_flag
		return cc
	}
	list := b[2:] // behind em_data
	for range b[0] & 0x1f {
		if len(list) < ccBytes {
			break
		}
		if c := list[:ccBytes]; c[0]&0x04 != 0 && !(c[0]&0x02 == 0 && c[1]&0x7f == 0 && c[2]&0x7f == 0) {
			cc = append(cc, c...)
		}
		list = list[ccBytes:]
	}
	return cc
}

// WithCaptions returns an access unit of H.264 with caption data in front of its pictures: as many
// messages as it takes. The access unit must have none, and no delimiter.
func WithCaptions(au, cc []byte) []byte {
	out := make([]byte, 0, len(au)+2*len(cc)+64)
	for len(cc) >= ccBytes {
		n := min(len(cc)/ccBytes, maxCC)
		body := append([]byte{}, t35ATSC...)
		body = append(body, 0xc0|byte(n), 0xff)
		for i := range n {
			c := cc[i*ccBytes:]
			body = append(body, 0xf8|c[0]&7, c[1], c[2]) // marker bits
		}
		body = append(body, 0xff)
		unit := protect(append(append([]byte{seiRegistered, byte(len(body))}, body...), 0x80))
		out = binary.BigEndian.AppendUint32(out, uint32(1+len(unit)))
		out = append(append(out, avcSEI), unit...)
		cc = cc[n*ccBytes:]
	}
	return append(out, au...)
}

// protect puts emulation prevention bytes in (ITU-T H.264 §7.4.1.1).
func protect(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/2)
	zeros := 0
	for _, v := range b {
		if zeros == 2 && v <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, v)
		if zeros++; v != 0 {
			zeros = 0
		}
	}
	return out
}
