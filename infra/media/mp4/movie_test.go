package mp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	mp4ff "github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
	"klive/infra/media/flv"
)

// fileUnits reads a file that ffmpeg made: a second of 25 pictures, one fragment.
func fileUnits(t testing.TB, name string) []MovieUnit {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var m *Movie
	var units []MovieUnit
	var moof []byte
	for at := 0; at < len(b); {
		box, ok, err := ReadBox(b[at:])
		if err != nil || !ok {
			t.Fatalf("box at %d: %v", at, err)
		}
		body := b[at : at+int(box.Size)]
		switch box.Type {
		case "moov":
			if m, err = ParseMovie(body); err != nil {
				t.Fatal(err)
			}
		case "moof":
			moof = body
		case "mdat":
			more, err := m.Fragment(moof, body, uint64(at-len(moof)))
			if err != nil {
				t.Fatal(err)
			}
			units = append(units, more...)
		}
		at += int(box.Size)
	}
	return units
}

// TestAV1 takes AV1 through all forms that klive has of it: MP4 in, Enhanced RTMP, CMAF out.
func TestAV1(t *testing.T) {
	units := fileUnits(t, "av1.mp4")
	if len(units) != 25 || units[0].Params == nil || !units[0].Key || units[1].Key {
		t.Fatalf("%d units, the first %+v", len(units), units[0])
	}
	params, ok := units[0].Params.(*media.AV1)
	if !ok {
		t.Fatalf("parameters %T", units[0].Params)
	}
	if w, h := params.Size(); w != 160 || h != 90 || params.CodecString() != "av01.0.00M.08" {
		t.Errorf("%dx%d %s", w, h, params.CodecString())
	}
	tag, err := flv.AppendSequence(nil, params)
	if err != nil {
		t.Fatal(err)
	}
	var p flv.VideoParser
	u, err := p.Parse(tag, 0)
	if err != nil || u.Params == nil || !u.Params.Equal(params) {
		t.Fatalf("the sequence header: %+v %v", u, err)
	}
	for i := range units {
		delimited := append([]byte{0x12, 0}, units[i].Payload...) // encoders send a temporal delimiter
		if tag, err = flv.AppendFrame(nil, params, delimited, 0, units[i].Key); err != nil {
			t.Fatal(err)
		}
		if u, err = p.Parse(tag, uint32(i*40)); err != nil || u.Key != units[i].Key || !bytes.Equal(u.Payload, units[i].Payload) {
			t.Fatalf("frame %d: key %v, %d bytes, %v; want %v and %d", i, u.Key, len(u.Payload), err, units[i].Key, len(units[i].Payload))
		}
	}
	init, err := Init(media.Track{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseInit(init)
	if err != nil || !h.Params.Equal(params) {
		t.Errorf("the initialization section: %+v %v", h, err)
	}
}

// TestVP9 does the same with VP9, whose record lacks the size: it comes with the first keyframe.
func TestVP9(t *testing.T) {
	units := fileUnits(t, "vp9.mp4")
	if len(units) != 25 || units[0].Params == nil || !units[0].Key || units[1].Key {
		t.Fatalf("%d units, the first %+v", len(units), units[0])
	}
	params, ok := units[0].Params.(*media.VP9)
	if !ok {
		t.Fatalf("parameters %T", units[0].Params)
	}
	if w, h := params.Size(); w != 160 || h != 90 || params.CodecString() != "vp09.00.10.08" {
		t.Errorf("%dx%d %s", w, h, params.CodecString())
	}
	head, err := flv.AppendSequence(nil, params)
	if err != nil {
		t.Fatal(err)
	}
	config := head[5:]
	for name, record := range map[string][]byte{"record": config, "box": append([]byte{1, 0, 0, 0}, config...)} {
		var p flv.VideoParser
		if u, err := p.Parse(append([]byte{0x90, 'v', 'p', '0', '9'}, record...), 0); err != nil || u.Params != nil {
			t.Fatalf("%s: the sequence header: %+v %v", name, u, err)
		}
		for i := range units {
			tag, err := flv.AppendFrame(nil, params, units[i].Payload, 0, units[i].Key)
			if err != nil {
				t.Fatal(err)
			}
			u, err := p.Parse(tag, uint32(i*40))
			if err != nil || u.Key != units[i].Key || !bytes.Equal(u.Payload, units[i].Payload) || (u.Params != nil) != (i == 0) || i == 0 && !u.Params.Equal(params) {
				t.Fatalf("%s: frame %d: %+v, %v", name, i, u, err)
			}
		}
		if u, err := p.Parse(append([]byte{0x90, 'v', 'p', '0', '9'}, record...), 0); err != nil || u.Params != nil {
			t.Errorf("%s: the header again: %+v %v", name, u, err)
		}
	}
	init, err := Init(media.Track{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := ParseInit(init); err != nil || !h.Params.Equal(params) {
		t.Errorf("the initialization section: %+v %v", h, err)
	}
	var late flv.VideoParser // without its record, and from the middle on
	if u, err := late.Parse(append([]byte{0xa1, 'v', 'p', '0', '9'}, units[1].Payload...), 0); err != nil || u.Payload != nil {
		t.Errorf("a frame without a record: %+v %v", u, err)
	}
	for name, bad := range map[string][]byte{"short": config[:7], "profile": append([]byte{9}, config[1:]...), "empty": nil} {
		if _, err := late.Parse(append([]byte{0x90, 'v', 'p', '0', '9'}, bad...), 0); !errors.Is(err, flv.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMovieRefused(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "no tracks": {0, 0, 0, 8, 'm', 'o', 'o', 'v'}, "noise": bytes.Repeat([]byte{9}, 100)} {
		if _, err := ParseMovie(b); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMovieEditList: an edit list puts a track on the movie's time line, and one that puts it where no time of
// ours reaches is refused.
func TestMovieEditList(t *testing.T) {
	for _, tc := range []struct {
		media int64 // where the edit begins
		dts   int64 // of the first unit, in seconds
	}{{0, 0}, {10 * 1000, -10}, {-1 << 62, 0}, {1 << 62, 0}} {
		m := &Movie{mvex: mp4ff.NewMvexBox(), Tracks: []*MovieTrack{{ID: 1, Kind: media.Audio, Timescale: 1000, shift: -tc.media}}}
		m.mvex.AddChild(mp4ff.CreateTrex(1))
		f := media.Frame{Duration: time.Second, Payload: []byte{1}}
		header, err := segmentHeader([]mp4ff.Sample{{Dur: 1000, Size: 1}}, 0, 1, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		moof, mdat := header[:len(header)-mdatHeader], append(header[len(header)-mdatHeader:], f.Payload...)
		units, err := m.Fragment(moof, mdat, 0)
		if tc.media > 1<<40 || tc.media < -1<<40 {
			if !errors.Is(err, ErrFile) {
				t.Errorf("an edit at %d: %d units, %v", tc.media, len(units), err)
			}
			continue
		}
		if err != nil || len(units) != 1 || units[0].DTS != tc.dts*1000 {
			t.Errorf("an edit at %d: %+v, %v", tc.media, units, err)
		}
	}
}

// TestMovieLargeSizes: boxes may have sizes of 64 bits, whatever they hold.
func TestMovieLargeSizes(t *testing.T) {
	b, err := os.ReadFile("testdata/av1.mp4")
	if err != nil {
		t.Fatal(err)
	}
	want := fileUnits(t, "av1.mp4")
	var m *Movie
	var moof []byte
	var units []MovieUnit
	for at := 0; at < len(b); {
		box, _, err := ReadBox(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		body := b[at : at+int(box.Size)]
		at += int(box.Size)
		switch box.Type {
		case "moov":
			if m, err = ParseMovie(body); err != nil {
				t.Fatal(err)
			}
		case "moof":
			moof = bytes.Clone(body)
		case "mdat":
			large := binary.BigEndian.AppendUint64([]byte{0, 0, 0, 1, 'm', 'd', 'a', 't'}, box.Size+8)
			// The samples lie eight bytes further.
			run := bytes.Index(moof, []byte("trun"))
			offset := moof[run+12:]
			binary.BigEndian.PutUint32(offset, binary.BigEndian.Uint32(offset)+8)
			if units, err = m.Fragment(moof, append(large, body[box.Header:]...), uint64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(units) != len(want) {
		t.Fatalf("%d units, want %d", len(units), len(want))
	}
	for i := range units {
		if !bytes.Equal(units[i].Payload, want[i].Payload) {
			t.Fatalf("unit %d differs", i)
		}
	}
}

// FuzzMovie reads an initialization section and a fragment, whatever they are.
func FuzzMovie(f *testing.F) {
	b, err := os.ReadFile("testdata/av1.mp4")
	if err != nil {
		f.Fatal(err)
	}
	var parts [3][]byte
	for at := 0; at < len(b); {
		box, _, err := ReadBox(b[at:])
		if err != nil {
			f.Fatal(err)
		}
		if i := slices.Index([]string{"moov", "moof", "mdat"}, box.Type); i >= 0 {
			parts[i] = b[at : at+int(box.Size)]
		}
		at += int(box.Size)
	}
	f.Add(parts[0], parts[1], parts[2])
	f.Fuzz(func(t *testing.T, moov, moof, mdat []byte) {
		m, err := ParseMovie(moov)
		if err != nil {
			return
		}
		units, err := m.Fragment(moof, mdat, 0)
		for i := range units {
			if u := &units[i]; err == nil && u.Track == nil {
				t.Fatalf("unit %d: %+v", i, u)
			}
		}
	})
}
