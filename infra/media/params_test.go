package media

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The parameter sets are those of x264 and x265 for a 640x360 test picture.
const (
	h264SPS = "674d401eeca05017fcb808800001f480007530078b16cb"
	h264PPS = "68ebe3cb20"
	hevcVPS = "40010c01ffff01600000030090000003000003003f959809"
	hevcSPS = "42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321"
	hevcPPS = "4401c172b46240"
)

// TestH264DisplaySize takes the sizes of anamorphic pictures, 720x576 by x264.
func TestH264DisplaySize(t *testing.T) {
	for sps, want := range map[string][2]int{
		"6742c01eda02d049b011000003000100000300320f162ea0": {720, 576},  // square
		"6742c01eda02d049b041000003000100000300320f162ea0": {1047, 576}, // 16:11
		"6742c01eda02d049b0e1000003000100000300320f162ea0": {960, 576},  // 4:3
		h264SPS: {640, 360}, // not stated
	} {
		p, err := NewH264([][]byte{unhex(t, sps)}, [][]byte{unhex(t, h264PPS)})
		if err != nil {
			t.Fatal(err)
		}
		if w, h := p.DisplaySize(); w != want[0] || h != want[1] {
			t.Errorf("%s: %dx%d, want %v", sps, w, h, want)
		}
	}
}

func TestH264Params(t *testing.T) {
	p, err := NewH264([][]byte{unhex(t, h264SPS)}, [][]byte{unhex(t, h264PPS)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.CodecString(), "avc1.4d401e"; got != want {
		t.Errorf("CodecString = %s, want %s", got, want)
	}
	if w, h := p.Size(); w != 640 || h != 360 {
		t.Errorf("Size = %dx%d, want 640x360", w, h)
	}
	if got := p.FrameRate(); got < 29.96 || got > 29.98 {
		t.Errorf("FrameRate = %v, want 29.97", got)
	}
	same, _ := NewH264([][]byte{unhex(t, h264SPS)}, [][]byte{unhex(t, h264PPS)})
	if !p.Equal(same) {
		t.Error("equal parameter sets compare as different")
	}
	other, _ := NewH264([][]byte{unhex(t, h264SPS)}, [][]byte{unhex(t, h264PPS+"00")})
	if p.Equal(other) || p.Equal(&Opus{ChannelCount: 2}) {
		t.Error("different parameters compare as equal")
	}
	if _, err := NewH264(nil, nil); !errors.Is(err, ErrNoParameterSets) {
		t.Errorf("without parameter sets: %v", err)
	}
	if _, err := NewH264([][]byte{{0x67, 0x4d, 0x40, 0x1e}}, [][]byte{{0x68}}); err == nil {
		t.Error("a truncated SPS was accepted")
	}
}

// TestFrameRateNotStated: timing information of nothing but zeros, as some encoders write it, states no rate. What
// is no number can't be put into a playlist or a record.
func TestFrameRateNotStated(t *testing.T) {
	const zeros = "674d401eeca05017fcb8088000000300000300000300078b16cb" // h264SPS with 0 units in a tick of 0
	p, err := NewH264([][]byte{unhex(t, zeros)}, [][]byte{unhex(t, h264PPS)})
	if err != nil {
		t.Fatal(err)
	}
	if w, h := p.Size(); w != 640 || h != 360 || p.FrameRate() != 0 {
		t.Errorf("%dx%d at %v 1/s", w, h, p.FrameRate())
	}
}

func TestHEVCParams(t *testing.T) {
	p, err := NewHEVC([][]byte{unhex(t, hevcVPS)}, [][]byte{unhex(t, hevcSPS)}, [][]byte{unhex(t, hevcPPS)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.CodecString(), "hvc1.1.6.L63.90"; got != want {
		t.Errorf("CodecString = %s, want %s", got, want)
	}
	if w, h := p.Size(); w != 640 || h != 360 {
		t.Errorf("Size = %dx%d, want 640x360", w, h)
	}
	if got := p.FrameRate(); got != 25 {
		t.Errorf("FrameRate = %v, want 25", got)
	}
}

func TestAACParams(t *testing.T) {
	for _, tt := range []struct {
		config   string
		rate     uint32
		channels int
		codec    string
	}{
		{"1210", 44100, 2, "mp4a.40.2"},
		{"1188", 48000, 1, "mp4a.40.2"},
		{"11b8", 48000, 8, "mp4a.40.2"},
		{"2b920800", 22050, 2, "mp4a.40.5"},
	} {
		p, err := NewAAC(unhex(t, tt.config))
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if p.SampleRate() != tt.rate || p.Channels() != tt.channels || p.CodecString() != tt.codec || p.FrameSamples() != 1024 {
			t.Errorf("%s: %d Hz, %d channels, %s, %d samples; want %d, %d, %s, 1024",
				tt.config, p.SampleRate(), p.Channels(), p.CodecString(), p.FrameSamples(), tt.rate, tt.channels, tt.codec)
		}
	}
	if _, err := NewAAC([]byte{0x12}); err == nil {
		t.Error("half an AudioSpecificConfig was accepted")
	}
	for what, config := range map[string]string{
		"a channel layout in a program config element": "1200", "a sample rate of 1 Hz": "1780000090",
	} {
		if _, err := NewAAC(unhex(t, config)); !errors.Is(err, ErrUnplayable) {
			t.Errorf("%s: %v, want ErrUnplayable", what, err)
		}
	}
}

func TestOpusPacketDuration(t *testing.T) {
	for _, tt := range []struct {
		packet []byte
		want   time.Duration
	}{
		{nil, 0},
		{[]byte{0x00}, 10 * time.Millisecond},               // SILK, 10 ms, one frame
		{[]byte{31 << 3}, 20 * time.Millisecond},            // CELT, 20 ms, one frame
		{[]byte{28<<3 | 1}, 5 * time.Millisecond},           // CELT, 2.5 ms, two frames
		{[]byte{3<<3 | 3, 2}, 120 * time.Millisecond},       // SILK, 60 ms, two frames
		{[]byte{3<<3 | 3, 3}, 0},                            // longer than 120 ms: malformed
		{[]byte{31<<3 | 3}, 0},                              // count byte missing
		{[]byte{12<<3 | 2, 0, 0, 0}, 20 * time.Millisecond}, // hybrid, 10 ms, two frames
		{[]byte{15<<3 | 3, 0x82, 0}, 40 * time.Millisecond}, // hybrid, 20 ms, two frames, VBR flag set
	} {
		if got := OpusPacketDuration(tt.packet); got != tt.want {
			t.Errorf("OpusPacketDuration(% x) = %v, want %v", tt.packet, got, tt.want)
		}
	}
}
