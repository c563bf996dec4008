package ts

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"

	"klive/infra/media"
)

func muxParams(t *testing.T) (*media.H264, *media.AAC) {
	t.Helper()
	sps, _ := hex.DecodeString("6742000af841a2")
	pps, _ := hex.DecodeString("68ce3880")
	v, err := media.NewH264([][]byte{sps}, [][]byte{pps})
	if err != nil {
		t.Fatal(err)
	}
	a, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		t.Fatal(err)
	}
	return v, a
}

// muxSegment makes a segment of two seconds that begins at an instant, with pictures of the
// given size.
func muxSegment(t *testing.T, at media.Time, size int) (data []byte, video, audio []media.Frame) {
	t.Helper()
	v, a := muxParams(t)
	for i := range 50 {
		nal := append([]byte{0x41}, bytes.Repeat([]byte{byte(i + 1)}, size)...)
		if i == 0 {
			nal[0] = 0x65
		}
		f := media.Frame{DTS: at.Add(time.Duration(i) * 40 * time.Millisecond), Duration: 40 * time.Millisecond, Key: i == 0,
			Payload: append([]byte{0, byte(len(nal) >> 16), byte(len(nal) >> 8), byte(len(nal))}, nal...)}
		f.PTS = f.DTS.Add(time.Duration(i%3) * 40 * time.Millisecond)
		video = append(video, f)
	}
	for i := range 86 {
		f := media.Frame{Track: 1, DTS: at.Add(media.FromTicks(int64(i)*1024, 44100)), Key: true, Payload: bytes.Repeat([]byte{byte(i)}, 90+i)}
		f.PTS = f.DTS
		audio = append(audio, f)
	}
	data, err := Mux(MuxTrack{v, video}, MuxTrack{a, audio})
	if err != nil {
		t.Fatal(err)
	}
	return data, video, audio
}

// An independent reader finds each frame, at its time, also where 33 bits wrap.
func TestMuxIsRead(t *testing.T) {
	wrap := media.TimeFromTicks(18_517<<33, 90_000)
	for _, size := range []int{1, 100, 170, 183, 184, 185, 5000, 70_000} {
		for _, at := range []media.Time{media.Time(1767323045 * int64(time.Second)), wrap.Add(-time.Second)} {
			data, video, audio := muxSegment(t, at, size)
			r := &mpegts.Reader{R: bytes.NewReader(data)}
			if err := r.Initialize(); err != nil {
				t.Fatal(err)
			}
			r.OnDecodeError(func(err error) { t.Error(err) })
			n, m := 0, 0
			const mask = 1<<33 - 1
			for _, track := range r.Tracks() {
				if track.PID == muxPIDFirst {
					r.OnDataH264(track, func(pts, dts int64, au [][]byte) error {
						f := &video[n]
						want := 1
						if f.Key {
							want += 2 // parameter sets
						}
						if pts&mask != f.PTS.Ticks(90_000)&mask || dts&mask != f.DTS.Ticks(90_000)&mask || len(au) < want || !bytes.Equal(au[len(au)-1], f.Payload[4:]) {
							t.Fatalf("size %d: picture %d: pts %d dts %d, %d units", size, n, pts, dts, len(au))
						}
						n++
						return nil
					})
				} else {
					r.OnDataMPEG4Audio(track, func(pts int64, aus [][]byte) error {
						if pts&mask != audio[m].PTS.Ticks(90_000)&mask || len(aus) != 1 || !bytes.Equal(aus[0], audio[m].Payload) {
							t.Fatalf("sound %d: pts %d, %d frames", m, pts, len(aus))
						}
						m++
						return nil
					})
				}
			}
			for r.Read() == nil {
			}
			if n < len(video)-1 || m < len(audio)-1 { // the reader keeps the last ones back
				t.Errorf("size %d: %d of %d pictures, %d of %d sounds", size, n, len(video), m, len(audio))
			}
		}
	}
}

// Continuity counters go on from one segment to the next, though each is made by itself.
func TestMuxCounters(t *testing.T) {
	at := media.Time(1767323045 * int64(time.Second))
	counters := map[int]byte{}
	for _, size := range []int{100, 3000, 170} {
		data, _, _ := muxSegment(t, at, size)
		at = at.Add(2 * time.Second)
		if len(data)%packetSize != 0 || data[0] != 0x47 {
			t.Fatalf("%d bytes", len(data))
		}
		clocks := 0
		for p := data; len(p) > 0; p = p[packetSize:] {
			pid := int(p[1]&0x1f)<<8 | int(p[2])
			if p[0] != 0x47 || p[3]&0x0f != counters[pid] || p[3]&0x10 == 0 {
				t.Fatalf("size %d, byte %d: header %x, counter should be %d", size, len(data)-len(p), p[:4], counters[pid])
			}
			counters[pid] = (counters[pid] + 1) & 0x0f
			if p[3]&0x20 != 0 && p[4] > 0 && p[5]&0x10 != 0 {
				clocks++
			}
		}
		if clocks != 50 || len(counters) != 4 {
			t.Errorf("%d clocks, streams %v", clocks, counters)
		}
		for pid, c := range counters {
			if c != 0 {
				t.Errorf("size %d: PID %#x ends at counter %d", size, pid, c)
			}
		}
	}
}

func TestMuxRefuses(t *testing.T) {
	v, a := muxParams(t)
	for name, tracks := range map[string][]MuxTrack{
		"nothing":      {{v, nil}},
		"Opus":         {{&media.Opus{ChannelCount: 2}, []media.Frame{{Payload: []byte{1}}}}},
		"a cut unit":   {{v, []media.Frame{{Payload: []byte{0, 0, 0, 9, 1}}}}},
		"a cut length": {{v, []media.Frame{{Payload: []byte{0, 0}}}}},
		"huge AAC":     {{a, []media.Frame{{Payload: make([]byte, 70_000)}}}},
	} {
		if _, err := Mux(tracks...); !errors.Is(err, ErrMux) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
