package ts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"

	"klive/infra/media"
	"klive/infra/media/nal"
)

func TestDistance(t *testing.T) {
	const turn = uint64(1) << Bits
	for _, test := range []struct {
		from, to uint64
		want     int64
	}{
		{0, 0, 0}, {10, 3, -7}, {3, 10, 7}, {turn - 5, 5, 10}, {5, turn - 5, -10}, {0, turn/2 - 1, 1<<(Bits-1) - 1}, {0, turn / 2, -1 << (Bits - 1)},
	} {
		if got := Distance(test.to - test.from); got != test.want {
			t.Errorf("from %d to %d: %d, want %d", test.from, test.to, got, test.want)
		}
	}
}

// heard is a sink that keeps what it hears.
type heard struct {
	programs [][]Stream
	params   map[media.TrackID][]media.Params
	units    map[media.TrackID][]Unit
	data     []Data
	err      error // returned from Unit
}

func (h *heard) Data(d Data) error { h.data = append(h.data, d); return nil }

func (h *heard) Program(s []Stream) error { h.programs = append(h.programs, s); return nil }

func (h *heard) Track(t media.Track, _ Stream) error {
	if h.params == nil {
		h.params = map[media.TrackID][]media.Params{}
	}
	h.params[t.ID] = append(h.params[t.ID], t.Params)
	return nil
}

func (h *heard) Unit(u Unit) error {
	if h.units == nil {
		h.units = map[media.TrackID][]Unit{}
	}
	h.units[u.Track] = append(h.units[u.Track], u)
	return h.err
}

// file is a stream that ffmpeg made: "multi" has H.264 with B-frames, AAC (eng), MP3 (fra),
// AC-3 (deu) and Opus for 2 s, "latm" AAC in LATM, "hevc" HEVC for a second each.
func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".ts"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read feeds a stream in pieces of the given size, which may have lost its end.
func read(t testing.TB, b []byte, piece int) (*heard, Stats) {
	t.Helper()
	return readTo(t, b, piece, false)
}

// readTo says at the end whether the stream is whole.
func readTo(t testing.TB, b []byte, piece int, whole bool) (*heard, Stats) {
	t.Helper()
	h := &heard{}
	r := NewReader(h)
	for len(b) > 0 {
		n := min(piece, len(b))
		if _, err := r.Write(bytes.Clone(b[:n])); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if err := r.Flush(whole); err != nil {
		t.Fatal(err)
	}
	return h, r.Stats()
}

func TestTracks(t *testing.T) {
	h, stats := read(t, file(t, "multi"), 1316)
	if len(h.programs) != 1 || len(h.programs[0]) != 5 {
		t.Fatalf("programs %+v", h.programs)
	}
	for i, want := range []struct {
		codec, codecs, language string
		units                   int
	}{
		{"H264", "avc1.", "", 50}, {"AAC", "mp4a.40.2", "eng", 88}, {"MP3", "mp4a.40.34", "fra", 78},
		{"AC-3", "ac-3", "deu", 63}, {"Opus", "opus", "", 101},
	} {
		id := media.TrackID(i)
		if n := len(h.params[id]); n != 1 {
			t.Errorf("track %d has its parameters %d times", i, n)
			continue
		}
		p := h.params[id][0]
		if p.Codec() != want.codec || !strings.HasPrefix(p.CodecString(), want.codecs) {
			t.Errorf("track %d is %s %s, want %s %s", i, p.Codec(), p.CodecString(), want.codec, want.codecs)
		}
		if l := h.programs[0][i].Language; l != want.language {
			t.Errorf("track %d speaks %q, want %q", i, l, want.language)
		}
		if n := len(h.units[id]); n < want.units-1 || n > want.units+1 {
			t.Errorf("track %d (%s) has %d units, want about %d", i, want.codec, n, want.units)
		}
	}
	if stats.Continuity+stats.Damaged+stats.Malformed+stats.Resyncs+stats.ClockJumps != 0 {
		t.Errorf("a sound stream counts %+v", stats)
	}
	if w, hh := h.params[0][0].(media.VideoParams).Size(); w != 160 || hh != 90 {
		t.Errorf("the picture is %dx%d", w, hh)
	}
}

// TestPieces holds that it does not matter how the bytes come.
func TestPieces(t *testing.T) {
	b := file(t, "multi")
	want, _ := read(t, b, len(b))
	for _, piece := range []int{1, 187, 188, 189, 1000, 1316, 65536} {
		got, _ := read(t, b, piece)
		for id, units := range want.units {
			if len(units) != len(got.units[id]) {
				t.Fatalf("in pieces of %d track %d has %d units, want %d", piece, id, len(got.units[id]), len(units))
			}
			for i := range units {
				if g := got.units[id][i]; g.Time != units[i].Time || !bytes.Equal(g.Payload, units[i].Payload) {
					t.Fatalf("in pieces of %d unit %d of track %d differs", piece, i, id)
				}
			}
		}
	}
}

// TestAgainstFFprobe compares times and keyframes with another implementation's.
func TestAgainstFFprobe(t *testing.T) {
	tool, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("SKIP: no ffprobe")
	}
	for name, streams := range map[string]int{"multi": 5, "latm": 1, "hevc": 1} {
		h, _ := read(t, file(t, name), 1316)
		for i := range streams {
			out, err := exec.CommandContext(t.Context(), tool, "-v", "error", "-select_streams", strconv.Itoa(i),
				"-show_entries", "packet=pts,dts,flags", "-of", "csv=p=0", filepath.Join("testdata", name+".ts")).Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Fields(string(out))
			id := media.TrackID(i)
			if name == "latm" {
				id = media.FirstAudioTrack
			}
			units := h.units[id]
			if len(units) != len(lines) {
				t.Errorf("%s: stream %d has %d units, ffprobe says %d", name, i, len(units), len(lines))
				continue
			}
			for k, line := range lines {
				f := strings.Split(line, ",")
				pts, _ := strconv.ParseInt(f[0], 10, 64)
				dts, _ := strconv.ParseInt(f[1], 10, 64)
				u := units[k]
				if d := int64(u.Time) - dts; d < -1 || d > 1 {
					t.Fatalf("%s: stream %d packet %d is at %d, ffprobe says %d", name, i, k, u.Time, dts)
				}
				if id == 0 && (int64(u.Offset) != pts-dts || u.Key != strings.HasPrefix(f[2], "K")) {
					t.Fatalf("%s: picture %d has offset %d and key %v, ffprobe says %s", name, k, u.Offset, u.Key, line)
				}
			}
		}
	}
}

// TestLostPackets takes each packet out in turn: only units that it held may be missing, the
// one after them is marked, and all others are as they were.
func TestLostPackets(t *testing.T) {
	b := file(t, "multi")
	b = b[:len(b)/2/packetSize*packetSize]
	whole, _ := read(t, b, 1316)
	for cut := 30 * packetSize; cut < len(b)-30*packetSize; cut += packetSize { // tables and parameters are before that, the tail tells of no loss
		less := append(bytes.Clone(b[:cut]), b[cut+packetSize:]...)
		got, _ := read(t, less, 1316)
		missing := 0
		for id, want := range whole.units {
			missing += compareUnits(t, cut/packetSize, want, got.units[id])
		}
		if missing > 20 { // an audio PES packet of ffmpeg's holds that many frames
			t.Fatalf("without packet %d %d units are missing", cut/packetSize, missing)
		}
	}
}

// compareUnits returns how many units of want are missing in got, which must be the others.
func compareUnits(t *testing.T, packet int, want, got []Unit) (missing int) {
	t.Helper()
	k, gap := 0, false
	for _, w := range want {
		if k >= len(got) || got[k].Time != w.Time {
			missing, gap = missing+1, true
			continue
		}
		if !bytes.Equal(got[k].Payload, w.Payload) {
			t.Fatalf("without packet %d the unit at %d of track %d differs", packet, w.Time, w.Track)
		}
		if gap && k > 0 && !got[k].Lost {
			t.Fatalf("without packet %d the unit at %d of track %d is not marked", packet, w.Time, w.Track)
		}
		k, gap = k+1, false
	}
	if k != len(got) {
		t.Fatalf("without packet %d there are %d units of track %d that were not sent", packet, len(got)-k, want[0].Track)
	}
	return missing
}

// A stream that ends within an access unit, as over a network that lost the rest, gives the
// unit whole or not at all.
func TestLastUnitIsWhole(t *testing.T) {
	b := file(t, "multi")
	whole, _ := read(t, b, 1316)
	want := whole.units[0]
	if last := len(want); last != 50 {
		t.Fatalf("the whole file has %d pictures", last)
	}
	for end := len(b) / 2 / packetSize * packetSize; end < len(b); end += packetSize {
		h, _ := read(t, b[:end], 1316)
		for i, u := range h.units[0] {
			if !bytes.Equal(u.Payload, want[i].Payload) {
				t.Fatalf("cut at %d: picture %d has other bytes", end, i)
			}
		}
	}
	// The last packet of a picture may be full by chance: then only whoever knows that nothing is
	// missing takes the picture.
	full := unstuffed(t, b)
	for _, c := range []struct {
		b     []byte
		whole bool
		want  int
	}{{b, false, 50}, {full, false, 49}, {full, true, 50}, {full[:len(full)-1], true, 49}, {append(full, syncByte), true, 49}} {
		h, _ := readTo(t, c.b, 1316, c.whole)
		if n := len(h.units[0]); n != c.want {
			t.Fatalf("%d bytes, whole %v: %d pictures, want %d", len(c.b), c.whole, n, c.want)
		}
		if last := c.want - 1; !bytes.Equal(h.units[0][last].Payload, want[last].Payload) {
			t.Fatalf("%d bytes, whole %v: the last picture has other bytes", len(c.b), c.whole)
		}
	}
}

// unstuffed moves the last packet of the pictures to the end of a stream, and fills it with zeros
// behind the picture, which say nothing (ITU-T H.264 §B.1), instead of stuffing before it.
func unstuffed(t *testing.T, b []byte) []byte {
	t.Helper()
	for at := len(b) - packetSize; at >= 0; at -= packetSize {
		p := bytes.Clone(b[at : at+packetSize])
		if binary.BigEndian.Uint16(p[1:])&0x1fff != 0x100 {
			continue
		}
		if p[3]&0x30 != 0x30 {
			t.Fatal("the last packet of the pictures has no stuffing")
		}
		payload := p[5+int(p[4]):]
		p[3] &^= 0x20
		copy(p[4:], payload)
		clear(p[4+len(payload):])
		return slices.Concat(b[:at], b[at+packetSize:], p)
	}
	t.Fatal("there are no pictures")
	return nil
}

func TestGarbage(t *testing.T) {
	b := file(t, "multi")
	noise := bytes.Repeat([]byte{0x00, 0x47, 0x11, 0x22, 0x33}, 99)
	at := len(b) / 2 / packetSize * packetSize
	h, stats := read(t, append(append(append(bytes.Clone(noise), b[:at]...), noise...), b[at:]...), 777)
	if stats.Resyncs != 1 {
		t.Errorf("%d places without packets, want 1", stats.Resyncs)
	}
	if n := len(h.units[0]); n < 45 {
		t.Errorf("%d pictures, want most of 50", n)
	}
}

func TestNoStream(t *testing.T) {
	r := NewReader(&heard{})
	if _, err := r.Write(bytes.Repeat([]byte("<html>"), 20000)); !errors.Is(err, ErrFormat) {
		t.Errorf("a page is taken for a stream: %v", err)
	}
}

// patch changes the bytes of one PID's packets.
func patch(b []byte, f func(pid uint16, p []byte)) []byte {
	b = bytes.Clone(b)
	for p := b; len(p) >= packetSize; p = p[packetSize:] {
		f(uint16(p[1]&0x1f)<<8|uint16(p[2]), p[:packetSize])
	}
	return b
}

// retype changes a stream's type in every program map.
func retype(b []byte, pid uint16, typ byte) []byte {
	return patch(b, func(id uint16, p []byte) {
		if id != 0x1000 {
			return
		}
		section := p[5:]
		size := 3 + int(binary.BigEndian.Uint16(section[1:])&0xfff)
		for i := 12; i < size-4; i++ {
			if binary.BigEndian.Uint16(section[i+1:])&0x1fff == pid && section[i+1]&0xe0 == 0xe0 {
				section[i] = typ
				break
			}
		}
		binary.BigEndian.PutUint32(section[size-4:], checksum(section[:size-4]))
	})
}

func TestCodecThatCannotBeUsed(t *testing.T) {
	r := NewReader(&heard{})
	_, err := r.Write(retype(file(t, "hevc"), 0x100, 0x02))
	if !errors.Is(err, ErrCodec) || !strings.Contains(err.Error(), "MPEG-2 video") {
		t.Errorf("error %v; want one that names MPEG-2 video", err)
	}
}

func TestScrambled(t *testing.T) {
	r := NewReader(&heard{})
	_, err := r.Write(patch(file(t, "hevc"), func(pid uint16, p []byte) {
		if pid == 0x100 {
			p[3] |= 0x80
		}
	}))
	if !errors.Is(err, ErrCodec) || !strings.Contains(err.Error(), "scrambled") {
		t.Errorf("error %v", err)
	}
}

// TestProgramChange lets a stream go on with another program map: other PIDs, another codec.
func TestProgramChange(t *testing.T) {
	first, second := file(t, "multi"), file(t, "hevc")
	second = patch(second, func(pid uint16, p []byte) {
		if pid == 0x100 { // the video of hevc.ts moves to a PID of its own
			p[1], p[2] = p[1]&0xe0|0x02, 0x00
		}
	})
	second = patch(second, func(pid uint16, p []byte) {
		if pid != 0x1000 {
			return
		}
		section := p[5:]
		size := 3 + int(binary.BigEndian.Uint16(section[1:])&0xfff)
		binary.BigEndian.PutUint16(section[8:], 0xe200)
		binary.BigEndian.PutUint16(section[13:], 0xe200)
		binary.BigEndian.PutUint32(section[size-4:], checksum(section[:size-4]))
	})
	h, _ := read(t, append(bytes.Clone(first), second...), 1316)
	if len(h.programs) != 2 {
		t.Fatalf("%d program maps, want 2", len(h.programs))
	}
	codecs := h.params[0]
	if len(codecs) != 2 || codecs[0].Codec() != "H264" || codecs[1].Codec() != "HEVC" {
		t.Fatalf("the video track was %v", codecs)
	}
	if n := len(h.units[0]); n < 70 {
		t.Errorf("%d pictures of both maps, want 75", n)
	}
}

// TestWrap moves all times to the end of the 33 bits.
func TestWrap(t *testing.T) {
	b := file(t, "multi")
	plain, _ := read(t, b, 1316)
	shift := uint64(1<<Bits) - plain.units[0][0].Time - Rate // wraps after one second
	moved := patch(b, func(pid uint16, p []byte) {
		if pid < 0x100 || pid > 0x104 || p[1]&0x40 == 0 {
			return
		}
		at := 4
		if p[3]&0x20 != 0 {
			at += 1 + int(p[4])
		}
		pes := p[at:]
		if pes[7]&0x80 != 0 {
			writeTime(pes[9:], readTime(pes[9:])+shift)
		}
		if pes[7]&0x40 != 0 {
			writeTime(pes[14:], readTime(pes[14:])+shift)
		}
	})
	h, stats := read(t, moved, 1316)
	for id, units := range plain.units {
		if len(h.units[id]) != len(units) {
			t.Fatalf("track %d has %d units across the wrap, want %d", id, len(h.units[id]), len(units))
		}
		for i, u := range units {
			if got := h.units[id][i]; got.Time != (u.Time+shift)&timeMask || got.Offset != u.Offset {
				t.Fatalf("track %d unit %d is at %d%+d, want %d%+d", id, i, got.Time, got.Offset, (u.Time+shift)&timeMask, u.Offset)
			}
		}
	}
	if stats.Malformed+stats.Damaged != 0 {
		t.Errorf("across the wrap: %+v", stats)
	}
}

func writeTime(b []byte, v uint64) {
	v &= timeMask
	b[0] = b[0]&0xf1 | byte(v>>30)<<1
	b[1], b[2] = byte(v>>22), byte(v>>15)<<1|1
	b[3], b[4] = byte(v>>7), byte(v)<<1|1
}

func FuzzReader(f *testing.F) {
	for _, name := range []string{"multi", "latm", "hevc"} {
		b := file(f, name)
		f.Add(b[:min(len(b), 12*packetSize)], 188)
	}
	f.Add(bytes.Repeat([]byte{syncByte}, 3*packetSize), 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if piece <= 0 {
			piece = len(b) + 1
		}
		h := &heard{}
		r := NewReader(h)
		for len(b) > 0 {
			n := min(piece, len(b))
			if _, err := r.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
		_ = r.Flush(len(b) == 0)
		for id, units := range h.units {
			if len(h.params[id]) == 0 {
				t.Fatalf("track %d sends units without parameters", id)
			}
			for _, u := range units {
				if u.Time > timeMask || len(u.Payload) == 0 {
					t.Fatalf("track %d: unit %+v", id, u)
				}
			}
		}
	})
}

// BenchmarkReader and BenchmarkMediacommon read the same stream: the first is why there is a
// reader of our own.
func BenchmarkReader(b *testing.B) {
	all := bytes.Repeat(file(b, "multi"), 20)
	b.SetBytes(int64(len(all)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(&discard{})
		for p := all; len(p) > 0; {
			n := min(1316, len(p))
			if _, err := r.Write(p[:n]); err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}

type discard struct{}

func (discard) Program([]Stream) error          { return nil }
func (discard) Track(media.Track, Stream) error { return nil }
func (discard) Unit(Unit) error                 { return nil }
func (discard) Data(Data) error                 { return nil }

func BenchmarkMediacommon(b *testing.B) {
	all := bytes.Repeat(file(b, "multi"), 20)
	b.SetBytes(int64(len(all)))
	b.ReportAllocs()
	for b.Loop() {
		r := &mpegts.Reader{R: bytes.NewReader(all)}
		if err := r.Initialize(); err != nil {
			b.Fatal(err)
		}
		for _, track := range r.Tracks() {
			switch track.Codec.IsVideo() {
			case true:
				r.OnDataH264(track, func(int64, int64, [][]byte) error { return nil })
			default:
				r.OnDataMPEG4Audio(track, func(int64, [][]byte) error { return nil })
			}
		}
		for r.Read() == nil {
		}
	}
}

// TestMutated flips, removes and repeats bytes of sound streams: whatever comes out is
// well-formed, and nothing panics.
// Tables that begin in a packet whose adaptation field leaves no room, and program maps that
// are too short, are malformed and no more.
func TestTablesWithoutContent(t *testing.T) {
	packet := make([]byte, packetSize)
	packet[0], packet[1], packet[3], packet[4] = syncByte, 0x40, 0x30, packetSize-5
	short := []byte{0x02, 0xb0, 11, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0, 0}
	r := NewReader(&heard{})
	if _, err := r.Write(bytes.Repeat(packet, 3)); err != nil {
		t.Error(err)
	}
	for n := range len(short) {
		if _, _, err := readStreams(short[:n]); err == nil {
			t.Errorf("a program map of %d bytes is taken", n)
		}
	}
}

func TestMutated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"multi", "latm", "hevc"} {
		b := file(t, name)
		b = b[:min(len(b), 100*packetSize)]
		for range 300 {
			m := bytes.Clone(b)
			for range 1 + random.IntN(20) {
				at := random.IntN(len(m))
				switch random.IntN(3) {
				case 0:
					m[at] ^= byte(1 << random.IntN(8))
				case 1:
					m = append(m[:at], m[min(len(m), at+1+random.IntN(300)):]...)
				case 2:
					m = append(m[:at:at], m[max(0, at-random.IntN(300)):]...)
				}
			}
			h := &heard{}
			r := NewReader(h)
			if _, err := r.Write(m); err != nil && !errors.Is(err, ErrCodec) && !errors.Is(err, ErrFormat) && !errors.Is(err, nal.ErrNoKeyframes) {
				t.Fatal(err)
			}
			_ = r.Flush(len(m)%2 == 0)
			for id, units := range h.units {
				for _, u := range units {
					if id > maxAudio || u.Time > timeMask || len(u.Payload) == 0 {
						t.Fatalf("track %d: unit %+v", id, u)
					}
				}
			}
		}
	}
}
