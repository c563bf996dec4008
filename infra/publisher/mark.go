package publisher

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// A mark is the number of an access unit, burned into its payload: for H264 a user data
// unregistered SEI message (ITU-T H.264 §D.2.7), for AAC a data stream element (ISO/IEC
// 14496-3 §4.4.2.7) before the others. Decoders skip both. The number stands in
// hexadecimal digits, so that it never needs emulation prevention and can be changed in
// place.

// markID is the UUID of the SEI message; the data stream element carries it as well.
var markID = [16]byte{'k', 'l', 'i', 'v', 'e', 0x96, 'f', 0x4d, 'r', 0xa1, 'm', 'e', 0xc7, 'n', 'o', '.'}

const (
	markDigits = 16
	markSize   = len(markID) + markDigits
)

// NAL unit types (ITU-T H.264 table 7-1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalFill  = 12
)

const (
	seiUserData    = 5
	elementDSE     = 0x81 // id_syn_ele 4, element_instance_tag 0, data_byte_align_flag 1
	seiPrefix      = 4 + 1 + 2
	dsePrefix      = 2
	rbspStop       = 0x80
	nalLengthBytes = 4
)

// ErrAccessUnit is returned for an access unit that is no sequence of NAL units with
// four-byte lengths.
var ErrAccessUnit = errors.New("publisher: malformed H264 access unit")

// MarkH264 puts a mark before the first slice of an access unit (NAL units with four-byte
// lengths) and returns the new payload with the offset of the mark's digits in it.
func MarkH264(au []byte, number uint64) (marked []byte, at int, err error) {
	insert := 0
	for insert < len(au) {
		nal, next, err := nextNAL(au, insert)
		if err != nil {
			return nil, 0, err
		}
		if t := nal[0] & 0x1f; t >= nalSlice && t <= nalIDR {
			break
		}
		insert = next
	}
	sei := make([]byte, 0, seiPrefix+markSize+1)
	sei = binary.BigEndian.AppendUint32(sei, uint32(3+markSize+1))
	sei = append(sei, nalSEI, seiUserData, byte(markSize))
	sei = appendMark(sei, number)
	sei = append(sei, rbspStop)
	marked = make([]byte, 0, len(au)+len(sei))
	marked = append(append(append(marked, au[:insert]...), sei...), au[insert:]...)
	return marked, insert + seiPrefix + len(markID), nil
}

// MarkAAC puts a mark before the elements of a raw_data_block; see [MarkH264].
func MarkAAC(block []byte, number uint64) (marked []byte, at int) {
	marked = make([]byte, 0, dsePrefix+markSize+len(block))
	marked = append(marked, elementDSE, byte(markSize))
	marked = appendMark(marked, number)
	return append(marked, block...), dsePrefix + len(markID)
}

// ReadMarkH264 returns the number of a marked access unit.
func ReadMarkH264(au []byte) (uint64, bool) {
	for i := 0; i < len(au); {
		nal, next, err := nextNAL(au, i)
		if err != nil {
			return 0, false
		}
		if len(nal) >= 3+markSize && nal[0] == nalSEI && nal[1] == seiUserData && int(nal[2]) == markSize {
			if n, ok := readMark(nal[3:]); ok {
				return n, true
			}
		}
		i = next
	}
	return 0, false
}

// ReadMarkAAC returns the number of a marked raw_data_block.
func ReadMarkAAC(block []byte) (uint64, bool) {
	if len(block) < dsePrefix+markSize || block[0] != elementDSE || int(block[1]) != markSize {
		return 0, false
	}
	return readMark(block[dsePrefix:])
}

func appendMark(b []byte, number uint64) []byte {
	b = append(b, markID[:]...)
	b = append(b, make([]byte, markDigits)...)
	putMark(b[len(b)-markDigits:], number)
	return b
}

// putMark writes the digits of a mark in place.
func putMark(digits []byte, number uint64) {
	var raw [markDigits / 2]byte
	binary.BigEndian.PutUint64(raw[:], number)
	hex.Encode(digits, raw[:])
}

func readMark(b []byte) (uint64, bool) {
	if !bytes.Equal(b[:len(markID)], markID[:]) {
		return 0, false
	}
	var raw [markDigits / 2]byte
	if _, err := hex.Decode(raw[:], b[len(markID):markSize]); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw[:]), true
}

// nextNAL returns the NAL unit at offset i and the offset behind it.
func nextNAL(au []byte, i int) (nal []byte, next int, err error) {
	if len(au)-i < nalLengthBytes {
		return nil, 0, ErrAccessUnit
	}
	n := binary.BigEndian.Uint32(au[i:])
	i += nalLengthBytes
	if n == 0 || uint64(n) > uint64(len(au)-i) {
		return nil, 0, ErrAccessUnit
	}
	return au[i : i+int(n)], i + int(n), nil
}
