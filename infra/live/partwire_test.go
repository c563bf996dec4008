package live

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"klive/infra/media"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// wireTracks are one track of each codec; parameter sets of x264 and x265.
func wireTracks() []media.Track {
	h264, err := media.NewH264([][]byte{unhex("674d401eeca05017fcb808800001f480007530078b16cb")}, [][]byte{unhex("68ebe3cb20")})
	if err != nil {
		panic(err)
	}
	hevc, err := media.NewHEVC([][]byte{unhex("40010c01ffff01600000030090000003000003003f959809")},
		[][]byte{unhex("42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321")},
		[][]byte{unhex("4401c172b46240")})
	if err != nil {
		panic(err)
	}
	aac, err := media.NewAAC(unhex("1210"))
	if err != nil {
		panic(err)
	}
	return []media.Track{{ID: 0, Params: h264}, {ID: 1, Params: aac}, {ID: 2, Params: &media.Opus{ChannelCount: 2}}, {ID: 3, Params: hevc},
		{ID: 4, Params: &media.MP3{Rate: 44100, ChannelCount: 2}}, {ID: 5, Params: &media.AC3{ID: 8, Coding: 7, LFE: true, BitrateCode: 14}},
		{ID: 6, Params: &media.VP8{Width: 640, Height: 360}}, {ID: 7, Params: &media.VP9{Profile: 2, Level: 31, Depth: 10, Chroma: 1, FullRange: true, Width: 1280, Height: 720}}}
}

func drawPart(t *rapid.T) *Part {
	tracks := wireTracks()
	tracks = tracks[:rapid.IntRange(1, len(tracks)).Draw(t, "tracks")]
	for i := range tracks {
		pose := media.NewPose(rapid.IntRange(0, 3).Draw(t, "turns"), rapid.IntRange(0, 9).Draw(t, "par"), rapid.IntRange(0, 9).Draw(t, "par"))
		tracks[i].Params = media.WithPose(tracks[i].Params, pose)
	}
	if rapid.Bool().Draw(t, "languages") {
		for i := range tracks {
			tracks[i].Language = rapid.SampledFrom([]string{"", "en", "he", "pt-BR"}).Draw(t, "language")
		}
	}
	p := &Part{
		Feed: Feed{FeedID: FeedID{Entry: "0_rkij47dr", Index: Index(rapid.IntRange(0, 1).Draw(t, "index")),
			Suffix: rapid.IntRange(1, MaxSuffix).Draw(t, "suffix")}, Epoch: rapid.Uint64().Draw(t, "epoch")},
		Seq:    rapid.Uint64().Draw(t, "seq"),
		Number: rapid.IntRange(0, 1<<31-1).Draw(t, "number"),
		Segment: Segment{
			Start: media.Time(rapid.Int64().Draw(t, "start")), Number: rapid.Uint64().Draw(t, "segment"), Tracks: tracks,
			Discontinuity: rapid.Bool().Draw(t, "discontinuity"), Independent: rapid.Bool().Draw(t, "independent"),
			Target: time.Duration(rapid.Int64Range(0, 20).Draw(t, "target")) * time.Second,
		},
	}
	if p.Last = rapid.Bool().Draw(t, "last"); p.Last {
		p.Final = rapid.Bool().Draw(t, "final")
		p.End = p.Segment.Start + media.Time(rapid.Int64Range(-1e12, 1e12).Draw(t, "end"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "data") {
		p.Data = append(p.Data, media.Data{
			Format: rapid.SampledFrom([]media.DataFormat{media.SCTE35, media.ID3}).Draw(t, "format"),
			Time:   p.Segment.Start + media.Time(rapid.Int64Range(-1e12, 1e12).Draw(t, "at")), Payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "datum"),
		})
	}
	last := p.Segment.Start
	for range rapid.IntRange(0, 40).Draw(t, "frames") {
		f := media.Frame{
			Track: tracks[rapid.IntRange(0, len(tracks)-1).Draw(t, "track")].ID, Key: rapid.Bool().Draw(t, "key"),
			DTS:      last + media.Time(rapid.Int64Range(-1e9, 1e9).Draw(t, "dts")),
			Duration: time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "duration")),
			Payload:  rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
		}
		f.PTS = f.DTS + media.Time(rapid.Int64Range(-1e9, 1e9).Draw(t, "pts"))
		last = f.DTS
		p.Frames = append(p.Frames, f)
	}
	return p
}

// sameParams compares codec parameters as decoders would.
func sameParams() cmp.Options {
	return cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b media.Params) bool { return a.Equal(b) })}
}

func TestPartWireRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPart(t)
		prefix := []byte("prefix")
		b, err := p.AppendBinary(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("what was there is gone")
		}
		got, err := UnmarshalPart(b[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, got, sameParams()); diff != "" {
			t.Fatalf("-written +read:\n%s", diff)
		}
		// Cut short anywhere, it is refused.
		n := rapid.IntRange(0, len(b)-len(prefix)-1).Draw(t, "cut")
		if _, err := UnmarshalPart(b[len(prefix) : len(prefix)+n]); err == nil {
			t.Fatalf("the first %d of %d bytes were read as a part", n, len(b)-len(prefix))
		}
	})
}

func samplePart() *Part {
	return &Part{
		Feed: Feed{FeedID: FeedID{Entry: "0_rkij47dr", Suffix: 1}, Epoch: 3}, Seq: 9,
		Segment: Segment{Start: 1_772_366_401_234_567_890, Number: 2, Tracks: wireTracks(), Independent: true, Target: 4 * time.Second},
		Number:  1, Last: true, End: 1_772_366_405_234_567_890,
		Frames: []media.Frame{
			{Track: 0, DTS: 1_772_366_401_200_000_000, PTS: 1_772_366_401_234_567_890, Duration: 33e6, Key: true, Payload: []byte("picture")},
			{Track: 1, DTS: 1_772_366_401_240_000_000, PTS: 1_772_366_401_240_000_000, Duration: 23e6, Key: true, Payload: []byte("sound")},
		},
	}
}

func TestUnmarshalPartRefuses(t *testing.T) {
	good, err := samplePart().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	head := append([]byte{partVersion, 10}, "0_rkij47dr"...)
	head2 := append([]byte{partVersion2, 10}, "0_rkij47dr"...)
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrPart},
		{"another version", append([]byte{3}, good[1:]...), ErrVersion},
		{"bytes behind the end", append(bytes.Clone(good), 0), ErrPart},
		{"entry grammar", append([]byte{partVersion, 3}, "abc"...), ErrPart},
		{"entry length", []byte{partVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, ErrPart},
		{"index", append(bytes.Clone(head), 7, 1, 1, 1), ErrPart},
		{"number without an end", append(bytes.Clone(head), 0, 0xff, 0xff), ErrPart},
		{"17 tracks", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 17), ErrPart},
		{"unknown codec", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 99), ErrPart},
		{"three channels of Opus", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 3), ErrPart},
		{"VP8 without a size", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, wireVP8, 0, 0), ErrPart},
		{"VP9 of 7 bits", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, wireVP9, 0, 10, 7, 1, 2, 2), ErrPart},
		{"five turns", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, wirePosed|wireVP8, 2, 2, 5, 0, 0), ErrPart},
		{"pixels of 9:1", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, wirePosed|wireVP8, 2, 2, 0, 9, 1), ErrPart},
		{"turned sound", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, wirePosed|wireOpus, 2, 1, 0, 0), ErrPart},
		{"more frames than bytes", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 0, 0, 0xff, 0x7f), ErrPart},
		{"frame of an unknown track", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 0, 0, 1, 5, 0, 0, 0, 0, 0), ErrPart},
		{"a language of noise", append(bytes.Clone(head2), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 1, '"'), ErrPart},
		{"a long language", append(bytes.Clone(head2), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 36), ErrPart},
		{"65 data", append(bytes.Clone(head2), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 0, 0, 0, 65), ErrPart},
		{"data of an unknown format", append(bytes.Clone(head2), 0, 1, 1, 1, 0, 1, 4, 0, 1, 0, 4, 2, 0, 0, 0, 1, 3, 0, 0), ErrPart},
		{"unknown flags", append(bytes.Clone(head), 0, 1, 1, 1, 0, 1, 4, 8), ErrPart},
	} {
		if _, err := UnmarshalPart(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := UnmarshalPart(good); err != nil {
		t.Errorf("the sample is refused: %v", err)
	}
}

// TestPartOfOneLanguage: what says nothing new is written as the release before wrote it.
func TestPartOfOneLanguage(t *testing.T) {
	p := samplePart()
	b, err := p.AppendBinary(nil)
	if err != nil || b[0] != partVersion {
		t.Fatalf("version %d (%v), want 1", b[0], err)
	}
	p.Segment.Tracks[1].Language = "he"
	if b, err = p.AppendBinary(nil); err != nil || b[0] != partVersion2 {
		t.Fatalf("version %d (%v), want 2", b[0], err)
	}
	p = samplePart()
	p.Segment.Tracks[0].Params = media.WithPose(p.Segment.Tracks[0].Params, media.NewPose(1, 0, 0))
	if b, err = p.AppendBinary(nil); err != nil || b[0] != partVersion2 {
		t.Fatalf("version %d of a turned part (%v), want 2", b[0], err)
	}
	p = samplePart()
	p.Data = make([]media.Data, MaxPartData+1)
	if _, err := p.AppendBinary(nil); err == nil {
		t.Error("a part that can't be read again was written")
	}
}

func TestAppendBinaryRefuses(t *testing.T) {
	p := samplePart()
	p.Segment.Tracks = []media.Track{{ID: 0}}
	if _, err := p.AppendBinary(nil); err == nil {
		t.Error("a track without parameters was written")
	}
	p = samplePart()
	p.Frames = make([]media.Frame, maxPartFrames+1)
	if _, err := p.AppendBinary(nil); err == nil {
		t.Error("a part that can't be read again was written")
	}
}

func FuzzUnmarshalPart(f *testing.F) {
	spoken := samplePart()
	spoken.Segment.Tracks[1].Language = "en"
	spoken.Data = []media.Data{{Format: media.SCTE35, Time: spoken.Segment.Start, Payload: []byte{0xfc}}}
	for _, p := range []*Part{samplePart(), spoken, {Feed: samplePart().Feed, Seq: 1, Segment: Segment{Tracks: wireTracks()[:1]}}} {
		b, err := p.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalPart(b)
		if err != nil {
			if p != nil || !errors.Is(err, ErrPart) && !errors.Is(err, ErrVersion) {
				t.Fatalf("part %v with error %v", p, err)
			}
			return
		}
		again, err := p.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := UnmarshalPart(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, q, sameParams()); diff != "" {
			t.Fatal(diff)
		}
	})
}
