package mp4

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"klive/infra/media"
)

// stored is a segment as it rests in the store, and its index.
type stored struct {
	kind  media.Kind
	data  []byte
	index *Index
}

func store(t testing.TB, params media.Params, frames []*media.Frame) stored {
	t.Helper()
	pieces, err := Segment(params, frames, 1)
	if err != nil {
		t.Fatal(err)
	}
	init, err := Init(media.Track{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseInit(init)
	if err != nil {
		t.Fatal(err)
	}
	s := stored{kind: params.Kind(), data: bytes.Join(pieces, nil)}
	if s.index, err = h.Index(int64(len(s.data)), s.read); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stored) read(offset, n int64) ([]byte, error) {
	return s.data[offset:min(offset+n, int64(len(s.data)))], nil
}

// movie writes segments as one file; shifts are in seconds.
func movie(t testing.TB, video, audio media.Params, shift int64, segments ...stored) []byte {
	t.Helper()
	m, err := NewProgressive(video, audio)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	for _, s := range segments {
		rate := Timescale(video)
		if s.kind == media.Audio {
			rate = Timescale(audio)
		}
		if err := m.Add(s.kind, shift*int64(rate), s.index.Samples); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.index.Runs {
			data.Write(s.data[r.Offset : r.Offset+r.Size])
		}
	}
	var out bytes.Buffer
	if err := m.WriteHeader(&out); err != nil {
		t.Fatal(err)
	}
	if m.Size() != int64(data.Len()) {
		t.Fatalf("%d bytes were described, %d written", m.Size(), data.Len())
	}
	out.Write(data.Bytes())
	return out.Bytes()
}

// probe is what ffprobe says of a file.
type probe struct {
	Streams []struct {
		Kind   string `json:"codec_type"`
		Start  string `json:"start_time"`
		Length string `json:"duration"`
		Frames string `json:"nb_frames"`
	}
	Packets []struct {
		Kind string `json:"codec_type"`
		PTS  string `json:"pts_time"`
		DTS  string `json:"dts_time"`
		Size string
		Pos  string
	}
}

func ffprobe(t testing.TB, file []byte) (p probe) {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is not installed")
	}
	path := filepath.Join(t.TempDir(), "movie.mp4")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-print_format", "json", "-show_streams", "-show_packets", path).Output()
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func seconds(t testing.TB, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestProgressiveFile(t *testing.T) {
	video, audio := h264Params(t), aacParams(t)
	var segments []stored
	for i := range 4 {
		segments = append(segments, store(t, video, videoFrames(i*60, 60)), store(t, audio, audioFrames(i*86, 86)))
	}
	file := movie(t, video, audio, 0, segments...)
	if moov, mdat := bytes.Index(file, []byte("moov")), bytes.Index(file, []byte("mdat")); moov < 0 || mdat < moov {
		t.Errorf("moov at %d, mdat at %d", moov, mdat)
	}
	p := ffprobe(t, file)
	if len(p.Streams) != 2 || p.Streams[0].Frames != "240" || p.Streams[1].Frames != "344" {
		t.Fatalf("%+v", p.Streams)
	}
	// The picture is shown two frames after it is decoded; the sound began with the decoding.
	lead := 2 * 1001.0 / 30000
	if got := seconds(t, p.Streams[0].Start); math.Abs(got) > 1e-4 {
		t.Errorf("pictures begin at %v", got)
	}
	if got, want := seconds(t, p.Streams[0].Length), 240*1001.0/30000; math.Abs(got-want) > 1e-4 {
		t.Errorf("pictures last %v, want %v", got, want)
	}
	if got, want := seconds(t, p.Streams[1].Length), 344*1024/44100.0-lead; math.Abs(got-want) > 1e-4 {
		t.Errorf("sound lasts %v, want %v", got, want)
	}
	var frames, sounds int
	for _, k := range p.Packets {
		pos, err := strconv.Atoi(k.Pos)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := strconv.Atoi(k.Size)
		if k.Kind == "video" {
			if want := fmt.Sprintf("frame %d of the test", frames); string(file[pos:pos+size]) != want {
				t.Fatalf("frame %d is %q", frames, file[pos:pos+size])
			}
			want := float64(frames+[]int{2, 4, 1, 1}[frames%4]-2) * 1001 / 30000
			if got := seconds(t, k.PTS); math.Abs(got-want) > 1e-4 {
				t.Fatalf("frame %d is shown at %v, want %v", frames, got, want)
			}
			frames++
		} else {
			if want := float64(sounds)*1024/44100 - lead; math.Abs(seconds(t, k.PTS)-want) > 1e-4 {
				t.Fatalf("sound %d is heard at %v, want %v", sounds, k.PTS, want)
			}
			sounds++
		}
	}
	if frames != 240 || sounds != 344 {
		t.Errorf("%d frames, %d sounds", frames, sounds)
	}
	f, err := decode(file[:bytes.Index(file, []byte("mdat"))-4])
	if err != nil {
		t.Fatal(err)
	}
	if keys := f.Moov.Trak.Mdia.Minf.Stbl.Stss.SampleNumber; !slices.Equal(keys, []uint32{1, 61, 121, 181}) {
		t.Errorf("keyframes %v", keys)
	}
}

// TestProgressiveSoundBeginsLate holds that sound that starts after the pictures stays where it was.
func TestProgressiveSoundBeginsLate(t *testing.T) {
	video, audio := h264Params(t), aacParams(t)
	file := movie(t, video, audio, 0, store(t, video, videoFrames(0, 120)), store(t, audio, audioFrames(43, 86)))
	p := ffprobe(t, file)
	want := 43*1024/44100.0 - 2*1001.0/30000
	if got := seconds(t, p.Streams[1].Start); math.Abs(got-want) > 1e-3 {
		t.Errorf("sound begins at %v, want %v", got, want)
	}
}

// TestProgressiveBridgesHoles lets the last picture stand over a hole and moves what would lie before
// the end.
func TestProgressiveBridgesHoles(t *testing.T) {
	video := h264Params(t)
	file := movie(t, video, nil, 0, store(t, video, videoFrames(0, 30)), store(t, video, videoFrames(90, 30)))
	p := ffprobe(t, file)
	if got, want := seconds(t, p.Streams[0].Length), 120*1001.0/30000; math.Abs(got-want) > 1e-3 {
		t.Errorf("it lasts %v, want %v", got, want)
	}
	m, _ := NewProgressive(video, nil)
	s := store(t, video, videoFrames(0, 30))
	for range 2 {
		if err := m.Add(media.Video, 0, s.index.Samples); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range m.tracks[0].stts.SampleTimeDelta {
		if d == 0 {
			t.Error("two pictures are decoded at once")
		}
	}
}

func TestProgressiveBounds(t *testing.T) {
	if _, err := NewProgressive(nil, nil); !errors.Is(err, ErrProgressive) {
		t.Errorf("no tracks: %v", err)
	}
	m, _ := NewProgressive(nil, aacParams(t))
	if err := m.Add(media.Video, 0, nil); !errors.Is(err, ErrProgressive) {
		t.Errorf("no such track: %v", err)
	}
	if err := m.WriteHeader(new(bytes.Buffer)); !errors.Is(err, ErrProgressive) {
		t.Errorf("no samples: %v", err)
	}
	if err := m.Add(media.Audio, 0, make([]Sample, MaxProgressiveSamples+1)); !errors.Is(err, ErrProgressive) {
		t.Errorf("too many samples: %v", err)
	}
	// Far beyond 2^32 bytes and ticks.
	v := h264Params(t)
	m, _ = NewProgressive(v, nil)
	for i := range 3 {
		s := []Sample{{DTS: int64(i) * math.MaxInt32, PTS: int64(i) * math.MaxInt32, Duration: math.MaxInt32, Key: true, Size: math.MaxInt32}}
		if err := m.Add(media.Video, 0, s); err != nil {
			t.Fatal(err)
		}
	}
	moov, err := m.moov()
	if err != nil {
		t.Fatal(err)
	}
	trak := moov.Trak
	if got := trak.Mdia.Minf.Stbl.Co64.ChunkOffset[2]; got != 2*math.MaxInt32 || m.Size() != 3*math.MaxInt32 {
		t.Errorf("the third chunk is at %d", got)
	}
	if trak.Mdia.Mdhd.Version != 1 || trak.Mdia.Mdhd.Duration != 3*math.MaxInt32 || moov.Mvhd.Duration != 3*math.MaxInt32 {
		t.Errorf("durations %d, %d", trak.Mdia.Mdhd.Duration, moov.Mvhd.Duration)
	}
}

// FuzzIndex holds that headers from a store can't do harm.
func FuzzIndex(f *testing.F) {
	p, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		f.Fatal(err)
	}
	s := store(f, p, audioFrames(0, 20))
	init, _ := Init(media.Track{Params: p})
	h, _ := ParseInit(init)
	f.Add(s.data)
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := h.Index(int64(len(b)), func(o, n int64) ([]byte, error) { return b[o:min(o+n, int64(len(b)))], nil })
		if err != nil {
			return
		}
		for _, r := range x.Runs {
			if r.Offset < 0 || r.Size < 0 {
				t.Fatalf("run %+v", r)
			}
		}
	})
}
