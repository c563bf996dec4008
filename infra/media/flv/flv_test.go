package flv

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/media"
	"klive/infra/media/nal"
)

// The parameter sets are those of x264 and x265 for a 640x360 test picture.
var (
	testSPS  = unhex("674d401eeca05017fcb808800001f480007530078b16cb")
	testPPS  = unhex("68ebe3cb20")
	testVPS  = unhex("40010c01ffff01600000030090000003000003003f959809")
	testHSPS = unhex("42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321")
	testHPPS = unhex("4401c172b46240")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func avcParams(t testing.TB) *media.H264 {
	t.Helper()
	p, err := media.NewH264([][]byte{testSPS}, [][]byte{testPPS})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hevcParams(t testing.TB) *media.HEVC {
	t.Helper()
	p, err := media.NewHEVC([][]byte{testVPS}, [][]byte{testHSPS}, [][]byte{testHPPS})
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

// avcc joins NAL units with four-byte lengths.
func avcc(units ...[]byte) []byte {
	var b []byte
	for _, u := range units {
		b = binary.BigEndian.AppendUint32(b, uint32(len(u)))
		b = append(b, u...)
	}
	return b
}

func sequence(t testing.TB, p media.Params) []byte {
	t.Helper()
	b, err := AppendSequence(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func frame(t testing.TB, p media.Params, payload []byte, offset int32, key bool) []byte {
	t.Helper()
	b, err := AppendFrame(nil, p, payload, offset, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// started returns a parser that has seen the sequence header.
func started(t testing.TB, p media.Params) *VideoParser {
	t.Helper()
	var v VideoParser
	u, err := v.Parse(sequence(t, p), 0)
	if err != nil || u.Params == nil || !u.Params.Equal(p) {
		t.Fatalf("sequence header: %+v, %v", u, err)
	}
	return &v
}

var (
	idr    = []byte{0x65, 0x88, 1, 2, 3}
	slice  = []byte{0x41, 0x9a, 4, 5}
	aud    = []byte{0x09, 0xf0}
	filler = append([]byte{0x0c}, bytes.Repeat([]byte{0xff}, 20)...)
	point  = []byte{0x06, 0x06, 0x01, 0xc4, 0x80}
)

func TestNormalise(t *testing.T) {
	for name, tc := range map[string]struct {
		in, want []byte
		key      bool
	}{
		"as it is":       {avcc(slice), avcc(slice), false},
		"keyframe":       {avcc(idr), avcc(idr), true},
		"repeated sets":  {avcc(aud, testSPS, testPPS, idr), avcc(idr), true},
		"filler at end":  {avcc(slice, filler), avcc(slice), false},
		"filler between": {avcc(aud, slice, filler, slice, filler, slice), avcc(slice, slice, slice), false},
		"empty units":    {avcc(nil, slice, nil), avcc(slice), false},
		"nothing left":   {avcc(aud, filler), nil, false},
		"SEI stays":      {avcc(point, idr), avcc(point, idr), true},
	} {
		t.Run(name, func(t *testing.T) {
			v := started(t, avcParams(t))
			// The flag says the opposite: only NAL types count.
			u, err := v.Parse(frame(t, avcParams(t), tc.in, -7, !tc.key), 40)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, u.Payload); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			if u.Key != tc.key || u.Params != nil || u.Offset != -7 {
				t.Errorf("unit = %+v", u)
			}
		})
	}
}

func TestNormaliseShares(t *testing.T) {
	v := started(t, avcParams(t))
	body := frame(t, avcParams(t), avcc(aud, testSPS, testPPS, idr, filler), 0, true)
	allocs := testing.AllocsPerRun(100, func() {
		u, err := v.Parse(body, 0)
		if err != nil || len(u.Payload) != 9 || &u.Payload[0] != &body[len(body)-len(filler)-4-9] {
			t.Fatalf("unit = %+v, %v", u, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a frame", allocs)
	}
}

func TestNarrowLengths(t *testing.T) {
	for size := 1; size <= 3; size++ {
		seq := sequence(t, avcParams(t))
		seq[5+4] = 0xfc | byte(size-1)
		var v VideoParser
		if _, err := v.Parse(seq, 0); err != nil {
			t.Fatal(err)
		}
		body := []byte{0x17, 1, 0, 0, 0}
		for _, u := range [][]byte{aud, idr, slice} {
			var n [4]byte
			binary.BigEndian.PutUint32(n[:], uint32(len(u)))
			body = append(append(body, n[4-size:]...), u...)
		}
		u, err := v.Parse(body, 0)
		if err != nil || !u.Key || !bytes.Equal(u.Payload, avcc(idr, slice)) {
			t.Errorf("size %d: %+v, %v", size, u, err)
		}
	}
}

func TestMalformedVideo(t *testing.T) {
	long := avcc(slice)
	long[3]++
	for name, body := range map[string][]byte{
		"empty":           {},
		"short":           {0x17, 1, 0},
		"length too long": append([]byte{0x27, 1, 0, 0, 0}, long...),
		"length of 4 GB":  {0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1},
		"bytes after":     append(append([]byte{0x27, 1, 0, 0, 0}, avcc(slice)...), 0, 0, 1),
		"packet type":     {0x27, 9, 0, 0, 0},
		"config version":  {0x17, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0},
		"config ends":     {0x17, 0, 0, 0, 0, 1, 0x4d, 0x40, 0x1e, 0xff, 0xe1, 0xff, 0xff, 1},
		"bad SPS":         {0x17, 0, 0, 0, 0, 1, 0x4d, 0x40, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0, 0, 0, 1, 0, 1, 0x68},
		"codec name ends": {0x90, 'h', 'v'},
		"ModEx ends":      {0x97, 0xff, 0x00},
		"multitrack":      {0x96, 0x03, 'a', 'v', 'c', '1', 0},
		"HEVC config":     append([]byte{0x90, 'h', 'v', 'c', '1'}, make([]byte, 10)...),
	} {
		t.Run(name, func(t *testing.T) {
			v := started(t, avcParams(t))
			if u, err := v.Parse(body, 0); !errors.Is(err, ErrMalformed) {
				t.Errorf("unit %+v, error %v", u, err)
			}
			// The tags after it are read as before.
			if u, err := v.Parse(frame(t, avcParams(t), avcc(slice), 0, false), 0); err != nil || u.Payload == nil {
				t.Errorf("the frame after it: %+v, %v", u, err)
			}
		})
	}
}

func TestUnsupportedCodecs(t *testing.T) {
	for name, body := range map[string][]byte{
		"H.263": {0x12, 0, 0}, "VP6": {0x14, 0}, "vp08": {0x90, 'v', 'p', '0', '8', 0},
	} {
		var v VideoParser
		if _, err := v.Parse(body, 0); !errors.Is(err, ErrCodec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string][]byte{
		"MP3": {0x2f, 0}, "Speex": {0xb2, 0}, "fLaC": {0x90, 'f', 'L', 'a', 'C', 0},
		"AAC of 1 Hz": {0xaf, 0, 0x17, 0x80, 0, 0, 0x90}, "AAC with a program config element": {0xaf, 0, 0x12, 0},
	} {
		var a AudioParser
		if _, err := a.Parse(body); !errors.Is(err, ErrCodec) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInBandChange(t *testing.T) {
	v := started(t, avcParams(t))
	pps2 := append(slices.Clone(testPPS), 0x80)
	u, err := v.Parse(frame(t, avcParams(t), avcc(testSPS, pps2, idr), 0, true), 0)
	if err != nil || u.Params == nil {
		t.Fatalf("changed PPS: %+v, %v", u, err)
	}
	got := u.Params.(*media.H264)
	if len(got.PPS) != 1 || !bytes.Equal(got.PPS[0], pps2) || !bytes.Equal(u.Payload, avcc(idr)) {
		t.Errorf("changed PPS: sets %x, payload %x", got.PPS, u.Payload)
	}
	// The same again is no change.
	if u, err = v.Parse(frame(t, avcParams(t), avcc(testSPS, pps2, idr), 0, true), 0); err != nil || u.Params != nil {
		t.Errorf("same PPS again: %+v, %v", u, err)
	}
	// A PPS with another id is added: 0x68, then ue(1) = 010.
	other := []byte{0x68, 0x4b, 0xe3, 0xcb, 0x20}
	if u, err = v.Parse(frame(t, avcParams(t), avcc(other), 0, false), 0); err != nil || u.Params == nil || u.Payload != nil {
		t.Fatalf("second PPS: %+v, %v", u, err)
	}
	if got := u.Params.(*media.H264).PPS; len(got) != 2 {
		t.Errorf("second PPS: %x", got)
	}
	// An SPS that can't be read changes nothing.
	bad := []byte{0x67, 0x4d, 0x40, 0x1e, 0xff}
	if u, err = v.Parse(frame(t, avcParams(t), avcc(bad, idr), 0, true), 0); err != nil || u.Params != nil || !u.Key {
		t.Errorf("bad SPS: %+v, %v", u, err)
	}
	// A sequence header that repeats what is in force says nothing new.
	same, err := media.NewH264([][]byte{testSPS}, [][]byte{pps2, other})
	if err != nil {
		t.Fatal(err)
	}
	if u, err = v.Parse(sequence(t, same), 0); err != nil || u.Params != nil {
		t.Errorf("same sequence header: %+v, %v", u, err)
	}
}

func TestInBandOnly(t *testing.T) {
	var v VideoParser
	if u, err := v.Parse([]byte{0x17, 0, 0, 0, 0, 1, 0x4d, 0x40, 0x1e, 0xff, 0xe0, 0}, 0); err != nil || u.Params != nil {
		t.Fatalf("empty configuration: %+v, %v", u, err)
	}
	if u, err := v.Parse(frame(t, avcParams(t), avcc(slice), 0, false), 0); err != nil || u.Payload != nil {
		t.Errorf("frame without parameters: %+v, %v", u, err)
	}
	u, err := v.Parse(frame(t, avcParams(t), avcc(testSPS, testPPS, idr), 0, true), 0)
	if err != nil || !avcParams(t).Equal(u.Params) || !bytes.Equal(u.Payload, avcc(idr)) {
		t.Errorf("in-band parameters: %+v, %v", u, err)
	}
}

func TestRecoveryPointsRefused(t *testing.T) {
	p := avcParams(t)
	v := started(t, p)
	refused := func(ms uint32) bool {
		_, err := v.Parse(frame(t, p, avcc(point, slice), 0, false), ms)
		if err != nil && !errors.Is(err, nal.ErrNoKeyframes) {
			t.Fatal(err)
		}
		return err != nil
	}
	if refused(0) || refused(2000) || !refused(4000) {
		t.Error("a stream without IDR is to be refused at its third recovery point")
	}
	v = started(t, p)
	if _, err := v.Parse(frame(t, p, avcc(idr), 0, true), 4294967000); err != nil {
		t.Fatal(err)
	}
	for ms := uint32(0); ms < 58000; ms += 2000 {
		if refused(ms) {
			t.Fatalf("refused %d ms after an IDR", ms)
		}
	}
	if !refused(61000) {
		t.Error("a stream without IDR for a minute was not refused")
	}
}

func TestHEVC(t *testing.T) {
	p := hevcParams(t)
	v := started(t, p)
	cra := []byte{21 << 1, 1, 9, 9}
	trail := []byte{1 << 1, 1, 8, 8}
	u, err := v.Parse(frame(t, p, avcc([]byte{35 << 1, 1, 0x50}, testVPS, testHSPS, testHPPS, cra), 33, true), 0)
	if err != nil || !u.Key || u.Offset != 33 || !bytes.Equal(u.Payload, avcc(cra)) || u.Params != nil {
		t.Errorf("CRA: %+v, %v", u, err)
	}
	u, err = v.Parse(frame(t, p, avcc(trail), 0, true), 0)
	if err != nil || u.Key || !bytes.Equal(u.Payload, avcc(trail)) {
		t.Errorf("trailing picture: %+v, %v", u, err)
	}
	pps2 := append(slices.Clone(testHPPS), 0x80)
	u, err = v.Parse(frame(t, p, avcc(pps2, cra), 0, true), 0)
	if err != nil || u.Params == nil || !bytes.Equal(u.Params.(*media.HEVC).PPS[0], pps2) {
		t.Errorf("changed PPS: %+v, %v", u, err)
	}
	// The record in the older form, as codec 12.
	old := append([]byte{0x1c, 0, 0, 0, 0}, sequence(t, p)[5:]...)
	var w VideoParser
	if u, err := w.Parse(old, 0); err != nil || !p.Equal(u.Params) {
		t.Errorf("codec 12: %+v, %v", u, err)
	}
}

func TestEnhancedVideo(t *testing.T) {
	p := avcParams(t)
	config := sequence(t, p)[5:]
	ex := func(head []byte, body []byte) []byte { return append(slices.Clone(head), body...) }
	var v VideoParser
	if u, err := v.Parse(ex([]byte{0x90, 'a', 'v', 'c', '1'}, config), 0); err != nil || !p.Equal(u.Params) {
		t.Fatalf("avc1 sequence: %+v, %v", u, err)
	}
	for name, tc := range map[string]struct {
		head   []byte
		offset int32
	}{
		"coded frames":   {[]byte{0x91, 'a', 'v', 'c', '1', 0xff, 0xff, 0xfe}, -2},
		"coded frames X": {[]byte{0x93, 'a', 'v', 'c', '1'}, 0},
		"ModEx":          {[]byte{0x97, 2, 1, 2, 3, 0x03, 'a', 'v', 'c', '1'}, 0},
		"long ModEx":     {append(append([]byte{0x97, 0xff, 0, 0}, 7), 0x03, 'a', 'v', 'c', '1'), 0},
	} {
		u, err := v.Parse(ex(tc.head, avcc(idr)), 0)
		if err != nil || !u.Key || u.Offset != tc.offset || !bytes.Equal(u.Payload, avcc(idr)) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	for name, b := range map[string][]byte{
		"metadata":         {0x94, 'a', 'v', 'c', '1'},
		"command":          {0xd1, 0},
		"sequence end":     {0x92, 'a', 'v', 'c', '1'},
		"old command":      {0x57, 0},
		"old sequence end": {0x17, 2, 0, 0, 0},
	} {
		if u, err := v.Parse(b, 0); err != nil || u.Payload != nil || u.Params != nil {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}

// TestCodecChanges: an encoder that goes to another codec and back announces the parameters of each again, also
// those that it had before.
func TestCodecChanges(t *testing.T) {
	vp9 := &media.VP9{Level: 10, Depth: 8, Chroma: 1, Width: 640, Height: 360}
	av1, err := media.NewAV1(unhex("81000c000a0a00000003b4fd900be001")) // 160x90
	if err != nil {
		t.Fatal(err)
	}
	var v VideoParser
	var got []string
	for _, p := range []media.Params{avcParams(t), av1, avcParams(t), hevcParams(t), av1, vp9, av1, avcParams(t)} {
		u, err := v.Parse(sequence(t, p), 0)
		if err != nil {
			t.Fatal(err)
		}
		if u.Params != nil {
			got = append(got, u.Params.Codec())
		}
	}
	// Those of VP9 come with its first keyframe.
	if want := []string{"H264", "AV1", "H264", "HEVC", "AV1", "AV1", "H264"}; !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
	if u, err := v.Parse(frame(t, hevcParams(t), avcc([]byte{0x26, 1, 0xaf}), 0, true), 0); err != nil || u.Payload != nil {
		t.Errorf("a frame of another codec is %+v, %v", u, err)
	}
}

func TestAudio(t *testing.T) {
	p := aacParams(t)
	var a AudioParser
	if u, err := a.Parse(frame(t, p, []byte{1}, 0, true)); err != nil || u.Payload != nil {
		t.Errorf("frame before its parameters: %+v, %v", u, err)
	}
	if u, err := a.Parse(sequence(t, p)); err != nil || !p.Equal(u.Params) {
		t.Fatalf("sequence: %+v, %v", u, err)
	}
	if u, err := a.Parse(sequence(t, p)); err != nil || u.Params != nil {
		t.Errorf("same sequence: %+v, %v", u, err)
	}
	if u, err := a.Parse(frame(t, p, []byte{0x21, 0x10}, 0, true)); err != nil || !u.Key || !bytes.Equal(u.Payload, []byte{0x21, 0x10}) {
		t.Errorf("frame: %+v, %v", u, err)
	}
	if u, err := a.Parse([]byte{0xaf, 1}); err != nil || u.Payload != nil {
		t.Errorf("empty frame: %+v, %v", u, err)
	}
	if u, err := a.Parse([]byte{0x91, 'm', 'p', '4', 'a', 7}); err != nil || !bytes.Equal(u.Payload, []byte{7}) {
		t.Errorf("mp4a frame: %+v, %v", u, err)
	}
	o := &media.Opus{ChannelCount: 2}
	if u, err := a.Parse(sequence(t, o)); err != nil || !o.Equal(u.Params) {
		t.Errorf("Opus: %+v, %v", u, err)
	}
	if u, err := a.Parse(frame(t, o, []byte{0xfc, 1}, 0, true)); err != nil || !bytes.Equal(u.Payload, []byte{0xfc, 1}) {
		t.Errorf("Opus frame: %+v, %v", u, err)
	}
	if u, err := a.Parse(frame(t, p, []byte{1}, 0, true)); err != nil || u.Payload != nil {
		t.Errorf("AAC frame after Opus: %+v, %v", u, err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "short": {0xaf}, "type": {0xaf, 7}, "bad ASC": {0xaf, 0, 0xff},
		"short OpusHead": {0x90, 'O', 'p', 'u', 's', 'O'},
	} {
		if _, err := a.Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
