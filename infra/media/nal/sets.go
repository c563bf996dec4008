package nal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"klive/infra/media"
)

// The kinds of parameter set.
const (
	setVPS = iota
	setSPS
	setPPS
	setKinds
)

// maxSets bounds the parameter sets of one kind: as many ids as a PPS can have (H.264 §7.4.2.2).
const maxSets = 256

// paramSets are the parameter sets of a track by kind.
type paramSets [setKinds][][]byte

func (s *paramSets) empty() bool { return len(s[setSPS]) == 0 && len(s[setPPS]) == 0 }

func (s *paramSets) params(hevc bool) (media.VideoParams, error) {
	if hevc {
		p, err := media.NewHEVC(s[setVPS], s[setSPS], s[setPPS])
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	p, err := media.NewH264(s[setSPS], s[setPPS])
	if err != nil {
		return nil, err
	}
	return p, nil
}

// note adds an in-band parameter set to changed unless s already has it. The unit is copied:
// it lies in a frame's body.
func (s *paramSets) note(changed **paramSets, kind int, unit []byte) {
	if containsNAL(s[kind], unit) {
		return
	}
	if *changed == nil {
		*changed = &paramSets{}
	}
	c := *changed
	if len(c[kind]) < maxSets && !containsNAL(c[kind], unit) {
		c[kind] = append(c[kind], bytes.Clone(unit))
	}
}

// merge returns s with the sets of changed: each takes the place of the one with its id.
func (s *paramSets) merge(changed *paramSets, hevc bool) paramSets {
	var out paramSets
	for kind := range out {
		out[kind] = slices.Clone(s[kind])
		for _, unit := range changed[kind] {
			out[kind] = replaceSet(out[kind], unit, kind, hevc)
		}
	}
	return out
}

func replaceSet(list [][]byte, unit []byte, kind int, hevc bool) [][]byte {
	id := setID(unit, kind, hevc)
	for i, v := range list {
		if setID(v, kind, hevc) == id {
			list[i] = unit
			return list
		}
	}
	if len(list) >= maxSets {
		return list
	}
	return append(list, unit)
}

// setID reads a parameter set's id. The id of an HEVC SPS stands behind fields of varying
// length and is taken as 0: live encoders have one.
func setID(unit []byte, kind int, hevc bool) int {
	switch {
	case hevc && kind == setVPS:
		if len(unit) < 3 {
			return 0
		}
		return int(unit[2] >> 4)
	case hevc && kind == setSPS:
		return 0
	case hevc:
		return expGolomb(unit, 2)
	case kind == setSPS:
		return expGolomb(unit, 4)
	}
	return expGolomb(unit, 1)
}

// expGolomb reads an unsigned Exp-Golomb code (H.264 §9.1) of at most 17 bits that begins
// at a byte; −1 when there is none.
func expGolomb(b []byte, at int) int {
	if at >= len(b) {
		return -1
	}
	var word [4]byte
	copy(word[:], b[at:])
	v := binary.BigEndian.Uint32(word[:])
	zeros := 0
	for zeros < 9 && v&(1<<31) == 0 {
		v <<= 1
		zeros++
	}
	if zeros == 9 {
		return -1
	}
	return int(v>>(31-zeros)) - 1
}

// readAVCConfig reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1.2).
func readAVCConfig(b []byte) (sets paramSets, lengthSize int, err error) {
	if len(b) < 6 {
		return sets, 0, fmt.Errorf("%w: AVC configuration of %d bytes", ErrMalformed, len(b))
	}
	if b[0] != 1 {
		return sets, 0, fmt.Errorf("%w: AVC configuration version %d", ErrMalformed, b[0])
	}
	lengthSize = int(b[4]&3) + 1
	count := int(b[5] & 0x1f)
	b = b[6:]
	if sets[setSPS], b, err = readUnits(b, count); err != nil {
		return sets, 0, err
	}
	if len(b) == 0 {
		// Some encoders leave the count out when they have no PPS yet.
		return sets, lengthSize, nil
	}
	sets[setPPS], _, err = readUnits(b[1:], int(b[0]))
	return sets, lengthSize, err
}

// readHEVCConfig reads an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1.2).
func readHEVCConfig(b []byte) (sets paramSets, lengthSize int, err error) {
	if len(b) < 23 {
		return sets, 0, fmt.Errorf("%w: HEVC configuration of %d bytes", ErrMalformed, len(b))
	}
	lengthSize = int(b[21]&3) + 1
	arrays := int(b[22])
	b = b[23:]
	for range arrays {
		if len(b) < 3 {
			return sets, 0, fmt.Errorf("%w: HEVC configuration ends early", ErrMalformed)
		}
		typ, count := b[0]&0x3f, int(binary.BigEndian.Uint16(b[1:]))
		var units [][]byte
		if units, b, err = readUnits(b[3:], count); err != nil {
			return sets, 0, err
		}
		if typ >= hevcVPS && typ <= hevcPPS {
			kind := int(typ - hevcVPS)
			sets[kind] = append(sets[kind], units...)
		}
	}
	return sets, lengthSize, nil
}

// readUnits reads count NAL units with two-byte lengths and copies them.
func readUnits(b []byte, count int) (units [][]byte, rest []byte, err error) {
	if count > maxSets {
		return nil, nil, fmt.Errorf("%w: %d parameter sets of one kind", ErrMalformed, count)
	}
	for range count {
		if len(b) < 2 {
			return nil, nil, fmt.Errorf("%w: parameter set ends early", ErrMalformed)
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 || n > len(b)-2 {
			return nil, nil, fmt.Errorf("%w: parameter set of %d bytes in %d", ErrMalformed, n, len(b)-2)
		}
		units = append(units, bytes.Clone(b[2:2+n]))
		b = b[2+n:]
	}
	return units, b, nil
}
