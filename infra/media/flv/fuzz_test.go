package flv

import (
	"encoding/binary"
	"testing"
)

// FuzzTags feeds one stream of tags, split at random places, to both parsers. What comes
// out must be well-formed, whatever goes in.
func FuzzTags(f *testing.F) {
	avc, hevc, aac := avcParams(f), hevcParams(f), aacParams(f)
	f.Add(sequence(f, avc), frame(f, avc, avcc(aud, testSPS, testPPS, idr, filler), 0, true), frame(f, avc, avcc(point, slice), 80, false))
	f.Add(sequence(f, hevc), frame(f, hevc, avcc(testVPS, []byte{38, 1, 1}), 0, true), []byte{0x93, 'h', 'v', 'c', '1'})
	f.Add(sequence(f, aac), frame(f, aac, []byte{1, 2}, 0, true), []byte{0x97, 1, 1, 1, 1})
	f.Add([]byte{0x17, 0, 0, 0, 0, 1, 0x4d, 0x40, 0x1e, 0xfd, 0xe0, 0}, []byte{0x17, 1, 0, 0, 0, 0, 2, 0x65, 1}, []byte{0x96, 0x23, 'a', 'v', 'c', '1', 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var v VideoParser
		var au AudioParser
		tags := [][]byte{a, b, c, b}
		for _, video := range []bool{true, false} {
			if Multitrack(c, video) {
				apart, err := Tracks(append([]byte(nil), c...), video)
				if err == nil && len(apart) == 0 || len(apart) > maxTrackTags {
					t.Fatalf("%d tracks, %v", len(apart), err)
				}
				for _, one := range apart {
					tags = append(tags, one.Body)
				}
			}
		}
		for i, tag := range tags {
			// A parser takes its tag over, so each gets a copy.
			u, err := v.Parse(append([]byte(nil), tag...), uint32(i)*3000)
			if err != nil && (u.Payload != nil || u.Params != nil) {
				t.Fatalf("unit %+v beside error %v", u, err)
			}
			for p := u.Payload; len(p) > 0; {
				n := int(binary.BigEndian.Uint32(p))
				if n == 0 || n > len(p)-4 {
					t.Fatalf("NAL length %d in %d", n, len(p))
				}
				p = p[4+n:]
			}
			if u, err = au.Parse(append([]byte(nil), tag...)); err != nil && u.Payload != nil {
				t.Fatalf("audio unit %+v beside error %v", u, err)
			}
		}
	})
}

func BenchmarkVideoFrame(b *testing.B) {
	v := started(b, avcParams(b))
	body := frame(b, avcParams(b), avcc(aud, make([]byte, 20000)), 0, false)
	body[9+2+4] = 0x41
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := v.Parse(body, 0); err != nil {
			b.Fatal(err)
		}
	}
}
