package flv

import (
	"encoding/binary"
	"fmt"
)

// fourCC is a codec's name in Enhanced RTMP.
type fourCC uint32

const (
	fourAVC  = fourCC('a'<<24 | 'v'<<16 | 'c'<<8 | '1')
	fourHEVC = fourCC('h'<<24 | 'v'<<16 | 'c'<<8 | '1')
	fourAV1  = fourCC('a'<<24 | 'v'<<16 | '0'<<8 | '1')
	fourVP9  = fourCC('v'<<24 | 'p'<<16 | '0'<<8 | '9')
	fourMP3  = fourCC('.'<<24 | 'm'<<16 | 'p'<<8 | '3')
	fourAC3  = fourCC('a'<<24 | 'c'<<16 | '-'<<8 | '3')
	fourAAC  = fourCC('m'<<24 | 'p'<<16 | '4'<<8 | 'a')
	fourOpus = fourCC('O'<<24 | 'p'<<16 | 'u'<<8 | 's')
)

func (f fourCC) String() string {
	b := binary.BigEndian.AppendUint32(nil, uint32(f))
	for i := range b {
		if b[i] < 0x20 || b[i] > 0x7e {
			b[i] = '.'
		}
	}
	return string(b)
}

// packet is what a tag's header says about the bytes after it.
type packet int

const (
	packetIgnored  packet = iota // commands, metadata
	packetSequence               // codec parameters
	packetFrame                  // an access unit
	packetEnd                    // end of the sequence
)

// The packet types of Enhanced RTMP v2 that video and audio share.
const (
	exSequenceStart = 0
	exCodedFrames   = 1
	exSequenceEnd   = 2
	exMultitrack    = 5 // audio; video uses 6
	exModEx         = 7
)

// skipModEx skips the ModEx prefixes before a packet (Enhanced RTMP v2 "ExVideoTagHeader"):
// a size of one byte (or three, when that is 255), that many bytes plus one, then a byte
// with the next packet type in its low half.
func skipModEx(b []byte, typ byte) (rest []byte, next byte, err error) {
	for typ == exModEx {
		if len(b) < 1 {
			return nil, 0, fmt.Errorf("%w: ModEx ends early", ErrMalformed)
		}
		size := int(b[0]) + 1
		b = b[1:]
		if size == 256 {
			if len(b) < 2 {
				return nil, 0, fmt.Errorf("%w: ModEx ends early", ErrMalformed)
			}
			size = int(binary.BigEndian.Uint16(b)) + 1
			b = b[2:]
		}
		if len(b) < size+1 {
			return nil, 0, fmt.Errorf("%w: ModEx of %d bytes in %d", ErrMalformed, size, len(b))
		}
		typ = b[size] & 0x0f
		b = b[size+1:]
	}
	return b, typ, nil
}

// readCodec reads the codec's name behind a packet header. Multitrack packets have been taken apart
// before: one within another is malformed.
func readCodec(b []byte, typ, multitrack byte) (cc fourCC, body []byte, err error) {
	if typ == multitrack {
		return 0, nil, fmt.Errorf("%w: a multitrack packet within another", ErrMalformed)
	}
	if len(b) < 4 {
		return 0, nil, fmt.Errorf("%w: codec name ends early", ErrMalformed)
	}
	return fourCC(binary.BigEndian.Uint32(b)), b[4:], nil
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// int24 reads a signed composition time.
func int24(b []byte) int32 { return int32(uint32(uint24(b))<<8) >> 8 }
