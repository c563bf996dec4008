package nal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// NAL unit types of H.264 (ITU-T H.264 table 7-1) and H.265 (ITU-T H.265 table 7-1).
const (
	avcIDR    = 5
	avcSEI    = 6
	avcSPS    = 7
	avcPPS    = 8
	avcAUD    = 9
	avcFiller = 12

	hevcFirstIRAP = 16
	hevcLastIRAP  = 21
	hevcVPS       = 32
	hevcSPS       = 33
	hevcPPS       = 34
	hevcAUD       = 35
	hevcFiller    = 38
	hevcSEI       = 39

	seiRecoveryPoint = 6
)

// scanned is what a walk over an access unit's NAL units found.
type scanned struct {
	payload       []byte
	key, recovery bool
	// changed holds the in-band parameter sets that differ from the track's; nil when none do.
	changed *paramSets
}

// scan checks the NAL lengths of an access unit and takes out what does not belong into
// the payload. Units are closed up within b, so that nothing is copied when all that goes
// stands at the beginning or the end.
func (p *Parser) scan(b []byte) (scanned, error) {
	var s scanned
	start, w := 0, 0
	for r := 0; r < len(b); {
		if len(b)-r < 4 {
			return s, fmt.Errorf("%w: %d bytes after the last NAL unit", ErrMalformed, len(b)-r)
		}
		n := int(binary.BigEndian.Uint32(b[r:]))
		if n > len(b)-r-4 {
			return s, fmt.Errorf("%w: NAL unit of %d bytes in %d", ErrMalformed, n, len(b)-r-4)
		}
		if unit := b[r+4 : r+4+n]; n > 0 && p.keep(unit, &s) {
			if w == start {
				start, w = r, r
			}
			if w != r {
				copy(b[w:], b[r:r+4+n])
			}
			w += 4 + n
		}
		r += 4 + n
	}
	s.payload = b[start:w:w]
	return s, nil
}

// keep notes what a NAL unit means and reports whether it stays in the payload.
func (p *Parser) keep(unit []byte, s *scanned) bool {
	if p.hevc {
		return p.keepHEVC(unit, s)
	}
	switch unit[0] & 0x1f {
	case avcAUD, avcFiller:
		return false
	case avcSPS:
		p.sets.note(&s.changed, setSPS, unit)
		return false
	case avcPPS:
		p.sets.note(&s.changed, setPPS, unit)
		return false
	case avcIDR:
		s.key = true
	case avcSEI:
		s.recovery = s.recovery || hasRecoveryPoint(unit[1:])
	}
	return true
}

func (p *Parser) keepHEVC(unit []byte, s *scanned) bool {
	typ := unit[0] >> 1 & 0x3f
	switch typ {
	case hevcAUD, hevcFiller:
		return false
	case hevcVPS:
		p.sets.note(&s.changed, setVPS, unit)
		return false
	case hevcSPS:
		p.sets.note(&s.changed, setSPS, unit)
		return false
	case hevcPPS:
		p.sets.note(&s.changed, setPPS, unit)
		return false
	case hevcSEI:
		s.recovery = s.recovery || len(unit) > 2 && hasRecoveryPoint(unit[2:])
	}
	if typ >= hevcFirstIRAP && typ <= hevcLastIRAP {
		s.key = true
	}
	return true
}

// hasRecoveryPoint looks for a recovery point among the messages of an SEI unit (H.264
// §7.3.2.3.1; H.265 §7.3.5 has the same form). Emulation prevention is not undone: it does
// not occur in the short messages that come first.
func hasRecoveryPoint(b []byte) bool {
	for len(b) >= 2 && !(len(b) == 2 && b[0] == 0x80) {
		typ, rest, ok := seiNumber(b)
		if !ok {
			return false
		}
		size, rest, ok := seiNumber(rest)
		if !ok {
			return false
		}
		if typ == seiRecoveryPoint {
			return true
		}
		if size > len(rest) {
			return false
		}
		b = rest[size:]
	}
	return false
}

func seiNumber(b []byte) (n int, rest []byte, ok bool) {
	for i, v := range b {
		n += int(v)
		if v != 0xff {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// WidenLengths copies an access unit whose NAL lengths are 1, 2 or 3 bytes wide to one
// with four-byte lengths.
func WidenLengths(b []byte, size int) ([]byte, error) {
	count := 0
	for rest := b; len(rest) > 0; count++ {
		n, err := nalLength(rest, size)
		if err != nil {
			return nil, err
		}
		rest = rest[size+n:]
	}
	out := make([]byte, 0, len(b)+count*(4-size))
	for len(b) > 0 {
		n, err := nalLength(b, size)
		if err != nil {
			return nil, err
		}
		out = binary.BigEndian.AppendUint32(out, uint32(n))
		out = append(out, b[size:size+n]...)
		b = b[size+n:]
	}
	return out, nil
}

func nalLength(b []byte, size int) (int, error) {
	if len(b) < size {
		return 0, fmt.Errorf("%w: %d bytes after the last NAL unit", ErrMalformed, len(b))
	}
	n := 0
	for _, v := range b[:size] {
		n = n<<8 | int(v)
	}
	if n > len(b)-size {
		return 0, fmt.Errorf("%w: NAL unit of %d bytes in %d", ErrMalformed, n, len(b)-size)
	}
	return n, nil
}

func containsNAL(list [][]byte, unit []byte) bool {
	return slices.ContainsFunc(list, func(v []byte) bool { return bytes.Equal(v, unit) })
}
