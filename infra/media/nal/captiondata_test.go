package nal

import (
	"bytes"
	"testing"

	"klive/infra/media"
)

// TestCaptionData writes caption data into an access unit and reads it again: more than one message
// holds, with bytes that need protection. Padding is left out.
func TestCaptionData(t *testing.T) {
	picture := []byte{0, 0, 0, 3, 0x65, 1, 2}
	if cc := CaptionData(&media.H264{}, picture); cc != nil {
		t.Errorf("a picture without captions has %x", cc)
	}
	var cc []byte
	for i := range byte(40) {
		cc = append(cc, 0xfe, 0, i%4) // of a CTA-708 packet
	}
	cc = append(cc, 0xfc, 'H'|0x80, 'i')
	au := WithCaptions(picture, cc)
	if !bytes.HasSuffix(au, picture) || bytes.Contains(au, []byte{0, 0, 0, 1}) && bytes.Contains(au[8:], []byte{0, 0, 1}) {
		t.Errorf("%x", au)
	}
	if got := CaptionData(&media.H264{}, au); !bytes.Equal(got, cc) {
		t.Errorf("%x, want %x", got, cc)
	}
	message := append(append([]byte{}, t35ATSC...), 0xc3, 0xff, 0xfc, 0x80, 0x80, 0xfa, 0, 0, 0xfd, 0x80, 0x94, 0xff)
	want := []byte{0xfd, 0x80, 0x94}
	if got := appendATSC(nil, message); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	hevc := append([]byte{0, 0, 0, byte(4 + len(message) + 1), hevcSEI << 1, 1, seiRegistered, byte(len(message))}, append(message, 0x80)...)
	if got := CaptionData(&media.HEVC{}, hevc); !bytes.Equal(got, want) {
		t.Errorf("HEVC: %x, want %x", got, want)
	}
	av1 := append([]byte{obuMetadata<<3 | 2, byte(1 + len(message)), metadataT35}, message...)
	if got := CaptionData(&media.AV1{}, av1); !bytes.Equal(got, want) {
		t.Errorf("AV1: %x, want %x", got, want)
	}
	for n := range au { // cut off anywhere, it is read as far as it goes
		_ = CaptionData(&media.H264{}, au[:n])
	}
}
