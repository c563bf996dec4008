package mp4

import (
	"bytes"
	"errors"
	"testing"

	"klive/infra/media"
)

// TestFileRoundTrip writes a file with two tracks and reads it back.
func TestFileRoundTrip(t *testing.T) {
	const base = media.Time(1_772_366_000e9)
	audio, err := media.NewAAC([]byte{0x11, 0x90})
	if err != nil {
		t.Fatal(err)
	}
	video, err := media.NewH264([][]byte{{0x67, 0x42, 0x00, 0x0a, 0xf8, 0x41, 0xa2}}, [][]byte{{0x68, 0xce, 0x38, 0x80}})
	if err != nil {
		t.Fatal(err)
	}
	var streams []Stream
	for i, p := range []media.Params{audio, video} {
		s := Stream{Track: media.Track{ID: media.TrackID(i), Params: p}}
		for k := range 5 {
			at := media.TimeFromTicks(base.Ticks(Timescale(p))+int64(1000+k*3000), Timescale(p))
			s.Frames = append(s.Frames, &media.Frame{Track: s.Track.ID, DTS: at, PTS: at.Add(media.FromTicks(3000, Timescale(p))), Key: k == 0 || i == 0,
				Duration: media.FromTicks(3000, Timescale(p)), Payload: bytes.Repeat([]byte{byte(10*i + k)}, k+1)})
		}
		streams = append(streams, s)
	}
	pieces, err := File(streams, base)
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.Join(pieces, nil)
	tracks, err := ParseFile(file)
	if err != nil || len(tracks) != 2 {
		t.Fatalf("%d tracks, %v", len(tracks), err)
	}
	for i, tr := range tracks {
		if !tr.Params.Equal(streams[i].Track.Params) || tr.Timescale != Timescale(tr.Params) || len(tr.Samples) != 5 {
			t.Fatalf("track %d: %d samples of %v", i, len(tr.Samples), tr.Params)
		}
		for k, s := range tr.Samples {
			f := streams[i].Frames[k]
			if s.DTS != int64(1000+3000*k) || s.PTS != s.DTS+3000 || s.Duration != 3000 || s.Key != f.Key || !bytes.Equal(s.Data, f.Payload) {
				t.Errorf("track %d, sample %d: %+v", i, k, s)
			}
		}
	}
	if _, err := File(streams, base+100e9); !errors.Is(err, ErrFrames) {
		t.Errorf("frames before the file's time: %v", err)
	}
	for n := range len(file) {
		if _, err := ParseFile(file[:n]); err == nil && n > 0 {
			if tracks, _ := ParseFile(file[:n]); len(tracks) != 2 {
				t.Fatalf("the first %d bytes were read", n)
			}
		}
	}
}

func FuzzParseFile(f *testing.F) {
	audio, _ := media.NewAAC([]byte{0x11, 0x90})
	s := Stream{Track: media.Track{ID: 1, Params: audio}, Frames: []*media.Frame{{Track: 1, DTS: 1e9, PTS: 1e9, Duration: 21e6, Key: true, Payload: []byte("sound")}}}
	pieces, err := File([]Stream{s}, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join(pieces, nil))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParseFile(b) })
}
