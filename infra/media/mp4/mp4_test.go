package mp4

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"klive/infra/media"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// h264Params are those of a 1920×1080 High profile stream.
func h264Params(t testing.TB) *media.H264 {
	t.Helper()
	p, err := media.NewH264([][]byte{unhex(t, "67640028acd940780227e5c05a808080a0000003002000000781e30632c0")},
		[][]byte{unhex(t, "68ebe3cb22c0")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hevcParams(t testing.TB) *media.HEVC {
	t.Helper()
	p, err := media.NewHEVC(
		[][]byte{unhex(t, "40010c01ffff01600000030090000003000003007895984090")},
		[][]byte{unhex(t, "42010101600000030090000003000003007ba003c08010e596566924caf01010000003001000000301e080")},
		[][]byte{unhex(t, "4401c172b46240")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func aacParams(t testing.TB) *media.AAC {
	t.Helper()
	p, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start is not on any tick.
const start = media.Time(1_760_000_000_123_456_789)

// videoFrames makes 29.97 fps with B-frames (decode order I P B B …) from the nth frame on.
func videoFrames(first, n int) []*media.Frame {
	at := func(i int) media.Time { return start + media.Time(int64(i)*1001*1e9/30000) }
	out := make([]*media.Frame, n)
	for i := range out {
		k := first + i
		shift := []int{2, 4, 1, 1}[k%4]
		out[i] = &media.Frame{DTS: at(k), PTS: at(k + shift), Duration: at(k + 1).Sub(at(k)), Key: i == 0,
			Payload: []byte(fmt.Sprintf("frame %d of the test", k))}
	}
	return out
}

func audioFrames(first, n int) []*media.Frame {
	at := func(i int) media.Time { return start.Add(media.FromTicks(int64(i)*1024, 44100)) }
	out := make([]*media.Frame, n)
	for i := range out {
		k := first + i
		out[i] = &media.Frame{Track: 1, DTS: at(k), PTS: at(k), Duration: at(k + 1).Sub(at(k)), Key: true, Payload: []byte{byte(k), 1, 2}}
	}
	return out
}

func join(pieces [][]byte) []byte { return bytes.Join(pieces, nil) }

func TestInitKeepsParams(t *testing.T) {
	for _, p := range []media.Params{h264Params(t), hevcParams(t), aacParams(t), &media.Opus{ChannelCount: 2},
		&media.MP3{Rate: 44100, ChannelCount: 2}, &media.MP3{Rate: 22050, ChannelCount: 1}, &media.AC3{ID: 8, Coding: 7, LFE: true, BitrateCode: 14}} {
		t.Run(p.Codec(), func(t *testing.T) {
			b, err := Init(media.Track{Params: p})
			if err != nil {
				t.Fatal(err)
			}
			h, err := ParseInit(b)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Params.Equal(p) || h.Timescale != Timescale(p) {
				t.Errorf("read back %v at %d, want %v at %d", h.Params, h.Timescale, p, Timescale(p))
			}
			again, _ := Init(media.Track{ID: 3, Params: p})
			if !bytes.Equal(b, again) {
				t.Error("the section depends on more than the parameters")
			}
		})
	}
}

func TestSegmentsJoinExactly(t *testing.T) {
	for _, c := range []struct {
		params media.Params
		frames func(first, n int) []*media.Frame
	}{{h264Params(t), videoFrames}, {aacParams(t), audioFrames}} {
		t.Run(c.params.Codec(), func(t *testing.T) {
			init, err := Init(media.Track{Params: c.params})
			if err != nil {
				t.Fatal(err)
			}
			h, err := ParseInit(init)
			if err != nil {
				t.Fatal(err)
			}
			var next int64
			for s := range 50 {
				frames := c.frames(s*60, 60)
				pieces, err := Segment(c.params, frames, uint32(s+1))
				if err != nil {
					t.Fatal(err)
				}
				samples, err := h.Segment(join(pieces))
				if err != nil {
					t.Fatal(err)
				}
				if len(samples) != len(frames) {
					t.Fatalf("%d samples of %d frames", len(samples), len(frames))
				}
				for i, f := range frames {
					g := samples[i]
					if g.DTS != f.DTS.Ticks(h.Timescale) || g.PTS != f.PTS.Ticks(h.Timescale) || g.Key != f.Key || !bytes.Equal(g.Data, f.Payload) {
						t.Fatalf("segment %d, sample %d is %+v, want %+v", s, i, g, f)
					}
					if next != 0 && g.DTS != next {
						t.Fatalf("segment %d, sample %d begins at %d, the one before ends at %d", s, i, g.DTS, next)
					}
					next = g.DTS + int64(g.Duration)
				}
			}
		})
	}
}

func TestSegmentSharesPayloads(t *testing.T) {
	frames := videoFrames(0, 3)
	pieces, err := Segment(h264Params(t), frames, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(pieces) != 4 {
		t.Fatalf("%d pieces, want a header and three payloads", len(pieces))
	}
	for i, f := range frames {
		if &pieces[i+1][0] != &f.Payload[0] {
			t.Errorf("payload %d was copied", i)
		}
	}
}

func TestSegmentRefuses(t *testing.T) {
	p := h264Params(t)
	mixed := append(videoFrames(0, 1), audioFrames(1, 1)...)
	back := videoFrames(0, 2)
	back[0], back[1] = back[1], back[0]
	for name, frames := range map[string][]*media.Frame{"none": nil, "two tracks": mixed, "backwards": back} {
		if _, err := Segment(p, frames, 1); !errors.Is(err, ErrFrames) {
			t.Errorf("%s: error %v, want ErrFrames", name, err)
		}
	}
}

func TestSegmentWithoutLastDuration(t *testing.T) {
	frames := videoFrames(0, 3)
	frames[2].Duration = 0
	pieces, err := Segment(h264Params(t), frames, 1)
	if err != nil {
		t.Fatal(err)
	}
	init, _ := Init(media.Track{Params: h264Params(t)})
	h, _ := ParseInit(init)
	s, err := h.Segment(join(pieces))
	if err != nil {
		t.Fatal(err)
	}
	if d := s[2].Duration; d != s[1].Duration {
		t.Errorf("the last sample lasts %d ticks, want its neighbour's %d", d, s[1].Duration)
	}
}

// TestFFprobe lets another implementation read sections and segments.
func TestFFprobe(t *testing.T) {
	tool, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("SKIP: no ffprobe")
	}
	for _, c := range []struct {
		params media.Params
		frames []*media.Frame
		want   []string
	}{
		{h264Params(t), videoFrames(0, 90), []string{"codec_name=h264", "width=1920", "height=1080", "time_base=1/90000"}},
		{hevcParams(t), videoFrames(0, 90), []string{"codec_name=hevc", "time_base=1/90000"}},
		{aacParams(t), audioFrames(0, 90), []string{"codec_name=aac", "sample_rate=44100", "channels=2", "time_base=1/44100"}},
		{&media.Opus{ChannelCount: 2}, audioFrames(0, 90), []string{"codec_name=opus", "sample_rate=48000", "channels=2"}},
	} {
		t.Run(c.params.Codec(), func(t *testing.T) {
			init, err := Init(media.Track{Params: c.params})
			if err != nil {
				t.Fatal(err)
			}
			seg, err := Segment(c.params, c.frames, 7)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "f.mp4")
			if err := os.WriteFile(path, append(init, join(seg)...), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, tool, "-v", "error", "-show_streams", "-show_packets",
				"-show_entries", "packet=dts", "-of", "default", path).Output()
			if err != nil {
				t.Fatalf("ffprobe: %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(string(out), w+"\n") {
					t.Errorf("ffprobe does not say %q", w)
				}
			}
			if n := strings.Count(string(out), "[PACKET]"); n != len(c.frames) {
				t.Errorf("ffprobe counts %d packets, want %d", n, len(c.frames))
			}
			last := fmt.Sprintf("dts=%d\n", c.frames[len(c.frames)-1].DTS.Ticks(Timescale(c.params)))
			if !strings.Contains(string(out), last) {
				t.Errorf("ffprobe does not find the last packet's %s", last)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	init, err := Init(media.Track{Params: aacParams(f)})
	if err != nil {
		f.Fatal(err)
	}
	seg, err := Segment(aacParams(f), audioFrames(0, 3), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(init, join(seg))
	h, err := ParseInit(init)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, init, seg []byte) {
		if got, err := ParseInit(init); (err == nil) != (got != nil && got.Params != nil) {
			t.Error("a header without parameters")
		}
		if s, err := h.Segment(seg); err == nil && len(s) == 0 {
			t.Error("a segment without samples and without an error")
		}
	})
}

// BenchmarkSegment packages two seconds of 5 Mbit/s video at 30 fps.
func BenchmarkSegment(b *testing.B) {
	p := h264Params(b)
	frames := videoFrames(0, 60)
	payload := make([]byte, 5_000_000/8/30)
	for _, f := range frames {
		f.Payload = payload
	}
	b.SetBytes(int64(len(payload) * len(frames)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Segment(p, frames, 1); err != nil {
			b.Fatal(err)
		}
	}
}
