package media

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// bitText turns zeros and ones into bytes.
func bitText(text string) []byte {
	text = strings.ReplaceAll(text, " ", "")
	b := make([]byte, (len(text)+7)/8)
	for i, c := range text {
		if c == '1' {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	return b
}

// Parts of a sequence header: 16 by 8 pixels, tools without order hints, and 4:2:0 of eight bits.
const (
	seqSize  = "0011 0010 1111 111 0"
	seqTools = "000 0000 0 1 1 000"
	seqColor = "0 0 0 0 01 0 0"
)

// TestAV1SequenceHeaders reads the headers of real encoders, and what few of them send.
func TestAV1SequenceHeaders(t *testing.T) {
	real := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	color := av1Sequence{subsampleX: true, subsampleY: true, chromaPosition: 1, width: 16, height: 8}
	with := func(change func(*av1Sequence)) av1Sequence {
		s := color
		change(&s)
		return s
	}
	for _, c := range []struct {
		name    string
		payload []byte
		want    av1Sequence
	}{
		{"SVT-AV1 2.3", real("0000000cc4ff6700be0010"), av1Sequence{level: 1, subsampleX: true, subsampleY: true, width: 640, height: 360}},
		{"SVT-AV1 4.2, with an initial display delay", real("0200000d2627fb3805f00080"),
			av1Sequence{level: 1, subsampleX: true, subsampleY: true, width: 640, height: 360, delayed: true}},
		{"timing with a decoder model, and two points", bitText("000 0 0 1" +
			strings.Repeat("0", 31) + "1" + strings.Repeat("0", 27) + "11001 1 010 1 00011" + strings.Repeat("0", 42) +
			"1 00001" + "000000000000 01000 1 1 0000 0000 0 1 1010" + "000000000000 00001 0 0" + seqSize + seqTools + seqColor),
			with(func(s *av1Sequence) {
				s.level, s.highTier, s.frameRate, s.decoderModel, s.delayBits, s.delayed = 8, true, 12.5, true, 4, true
			})},
		{"a still picture", bitText("000 1 1 00101" + "0011 0010 1111 111 000 000" + seqColor), with(func(s *av1Sequence) { s.level, s.reduced = 5, true })},
		{"order hints, and integer vectors never", bitText("000 0 0 0 0 00000 000000000000 00001" + seqSize + "000 0000 1 11 0 1 0 0 110 000" + seqColor),
			with(func(s *av1Sequence) { s.level = 1 })},
		{"RGB", bitText("001 0 0 0 0 00000 000000000000 00001" + seqSize + seqTools + "0 1 00000001 00001101 00000000 0 0"),
			av1Sequence{profile: 1, level: 1, width: 16, height: 8}},
		{"twelve bits of 4:2:2", bitText("010 0 0 0 0 00000 000000000000 00001" + seqSize + seqTools + "1 1 0 0 0 1 0 0 0"),
			av1Sequence{profile: 2, level: 1, highDepth: true, twelveBit: true, subsampleX: true, width: 16, height: 8}},
		{"grey", bitText("000 0 0 0 0 00000 000000000000 00001" + seqSize + seqTools + "1 1 0 0 0"),
			av1Sequence{level: 1, highDepth: true, mono: true, subsampleX: true, subsampleY: true, width: 16, height: 8}},
	} {
		got, err := readAV1Sequence(c.payload)
		if err != nil || *got != c.want {
			t.Errorf("%s: %v %+v, want %+v", c.name, err, got, c.want)
			continue
		}
		for n := range len(c.payload) - 2 {
			if _, err := readAV1Sequence(c.payload[:n]); !errors.Is(err, errAV1) {
				t.Errorf("%s, cut to %d bytes: %v", c.name, n, err)
			}
		}
		obu := append([]byte{obuSequence<<3 | 2, byte(len(c.payload))}, c.payload...)
		p, err := NewAV1Sequence(obu)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if w, h := p.Size(); w != c.want.width || h != c.want.height || p.FrameRate() != c.want.frameRate || p.Config[1] != c.want.profile<<5|c.want.level {
			t.Errorf("%s: %d×%d, %v fps, %x", c.name, w, h, p.FrameRate(), p.Config)
		}
	}
	if _, err := NewAV1([]byte{0x81, 0, 0, 0, obuDelimiter<<3 | 2, 0}); !errors.Is(err, errAV1) {
		t.Errorf("a record without a sequence header: %v", err)
	}
}
