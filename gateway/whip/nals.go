package whip

import (
	"encoding/binary"
	"errors"

	"klive/infra/media/nal"
)

// maxUnit bounds an access unit in bytes.
const maxUnit = 6 << 20

// errPacket is a payload that contradicts itself.
var errPacket = errors.New("malformed RTP payload")

// NAL unit types of the payload formats beside those of the codecs: RFC 6184 §5.2, RFC 7798
// §4.4.
const (
	avcSTAPA = 24
	avcFUA   = 28
	avcIDR   = 5
	avcSPS   = 7
	avcPPS   = 8

	hevcAP       = 48
	hevcFU       = 49
	hevcVPS      = 32
	hevcPPS      = 34
	hevcFirstKey = 16
	hevcLastKey  = 21
)

// nals puts access units of H.264 or HEVC together: NAL units with four-byte lengths.
type nals struct {
	hevc bool
	unit *nal.Parser

	buf  []byte
	size int // of the access unit before, to allocate once
	frag int // where the fragmented NAL unit in buf begins; -1 when there is none
	// opens says that the access unit begins with what a keyframe's begins with, sets which
	// kinds of parameter set it has, slices that it has some of a picture.
	opens, slices bool
	sets          uint8
	// inBand says that parameter sets come within the stream.
	inBand bool
}

func newNALs(hevc bool) *nals { return &nals{hevc: hevc, unit: nal.NewParser(hevc), frag: -1} }

func (n *nals) reset() {
	n.buf, n.frag, n.opens, n.slices, n.sets = nil, -1, false, false, 0
}

func (n *nals) entry() bool { return n.opens }

// add takes a packet's payload.
func (n *nals) add(p []byte) error {
	head, aggregate, fragment := 1, byte(avcSTAPA), byte(avcFUA)
	typ := p[0] & 0x1f
	if n.hevc {
		if len(p) < 2 {
			return errPacket
		}
		head, aggregate, fragment = 2, hevcAP, hevcFU
		typ = p[0] >> 1 & 0x3f
	}
	if n.buf == nil {
		n.buf = make([]byte, 0, max(2048, n.size+n.size/8))
	}
	switch typ {
	case aggregate:
		return n.aggregated(p[n.aggregateHead():])
	case fragment:
		return n.fragment(p, head)
	}
	if n.frag >= 0 {
		return errPacket // the fragment before has no end
	}
	if len(p) < head {
		return errPacket
	}
	return n.whole(p)
}

func (n *nals) aggregateHead() int {
	if n.hevc {
		return 2
	}
	return 1
}

// aggregated takes NAL units with two-byte lengths (RFC 6184 §5.7.1, RFC 7798 §4.4.2).
func (n *nals) aggregated(p []byte) error {
	if n.frag >= 0 || len(p) == 0 {
		return errPacket
	}
	for len(p) > 0 {
		if len(p) < 2 {
			return errPacket
		}
		size := int(binary.BigEndian.Uint16(p))
		if size == 0 || size > len(p)-2 {
			return errPacket
		}
		if err := n.whole(p[2 : 2+size]); err != nil {
			return err
		}
		p = p[2+size:]
	}
	return nil
}

func (n *nals) whole(unit []byte) error {
	if err := n.room(4 + len(unit)); err != nil {
		return err
	}
	n.note(unit)
	n.buf = binary.BigEndian.AppendUint32(n.buf, uint32(len(unit)))
	n.buf = append(n.buf, unit...)
	return nil
}

// fragment takes a part of a NAL unit (RFC 6184 §5.8, RFC 7798 §4.4.3).
func (n *nals) fragment(p []byte, head int) error {
	if len(p) <= head+1 {
		return errPacket
	}
	fu := p[head]
	start, end := fu&0x80 != 0, fu&0x40 != 0
	body := p[head+1:]
	switch {
	case start && (n.frag >= 0 || end), !start && n.frag < 0:
		return errPacket
	}
	if err := n.room(4 + head + len(body)); err != nil {
		return err
	}
	if start {
		n.frag = len(n.buf)
		n.buf = append(n.buf, 0, 0, 0, 0)
		if n.hevc {
			n.buf = append(n.buf, p[0]&0x81|fu&0x3f<<1, p[1])
		} else {
			n.buf = append(n.buf, p[0]&0xe0|fu&0x1f)
		}
	}
	n.buf = append(n.buf, body...)
	if start {
		n.note(n.buf[n.frag+4:])
	}
	if end {
		binary.BigEndian.PutUint32(n.buf[n.frag:], uint32(len(n.buf)-n.frag-4))
		n.frag = -1
	}
	return nil
}

func (n *nals) room(more int) error {
	if len(n.buf)+more > maxUnit {
		return errPacket
	}
	return nil
}

// note looks at the beginning of a NAL unit.
func (n *nals) note(unit []byte) {
	var kind uint8
	var slice, key bool
	if n.hevc {
		if len(unit) < 3 {
			return
		}
		typ := unit[0] >> 1 & 0x3f
		slice = typ < hevcVPS
		// first_slice_segment_in_pic_flag
		key = typ >= hevcFirstKey && typ <= hevcLastKey && unit[2]&0x80 != 0
		if typ >= hevcVPS && typ <= hevcPPS {
			kind = 1 << (typ - hevcVPS)
		}
	} else {
		if len(unit) < 2 {
			return
		}
		typ := unit[0] & 0x1f
		slice = typ <= avcIDR
		key = typ == avcIDR && unit[1]&0x80 != 0 // first_mb_in_slice 0
		if typ == avcSPS || typ == avcPPS {
			kind = 1 << (typ - avcSPS)
		}
	}
	n.sets |= kind
	n.inBand = n.inBand || kind != 0
	n.opens = n.opens || !n.slices && (kind != 0 || key && !n.inBand)
	n.slices = n.slices || slice
}

// allSets is what sets has when all kinds of parameter set have come.
func (n *nals) allSets() uint8 {
	if n.hevc {
		return 7
	}
	return 3
}

func (n *nals) take(ms uint32) (unit, error) {
	body, all, open := n.buf, n.sets == n.allSets(), n.frag >= 0
	n.size = len(body)
	n.reset()
	if open {
		return unit{}, errPacket
	}
	if all {
		n.unit.Renew() // a keyframe brings all that hold from there on
	}
	return n.unit.Unit(body, ms, false)
}
