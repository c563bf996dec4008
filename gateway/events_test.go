package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

func testMono() media.Track {
	p, err := media.NewAAC(mustHex("1188"))
	if err != nil {
		panic(err)
	}
	return media.Track{ID: media.FirstAudioTrack, Params: p}
}

// only keeps the units that f likes.
func only(us []unit, f func(unit) bool) []unit {
	return slices.DeleteFunc(us, func(u unit) bool { return !f(u) })
}

func merge(a, b []unit) []unit {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b unit) int { return int(a.sent - b.sent) })
	return all
}

// event is something that happens within a stream, and the segments that come of it.
type event struct {
	name    string
	run     func(*bench)
	want    string
	dropped drops
}

func runEvents(t *testing.T, events []event) {
	t.Helper()
	for _, e := range events {
		t.Run(e.name, func(t *testing.T) {
			b := newBench(t, nil)
			e.run(b)
			checkParts(t, b.finish(), testPart)
			checkOutcome(t, b, e.want, e.dropped)
		})
	}
}

// plainSource is what most events happen to.
func plainSource() source {
	return source{fps: 25, gop: 50, audio: 48000, length: 16 * time.Second}
}

func at(u unit, track media.TrackID, index int) bool { return u.au.Track == track && u.index == index }

func TestVideoEvents(t *testing.T) {
	plain := plainSource()
	runEvents(t, []event{
		{"parameters repeated at each keyframe", func(b *bench) {
			for _, u := range plain.units() {
				if u.au.Track == 0 && u.au.Key {
					b.tracks(testH264(""), testAAC(48000))
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"new SPS on the grid", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			for _, u := range plain.units() {
				if at(u, 0, 300) {
					b.tracks(testH264("00"))
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000DI/2", nil},
		{"new SPS off the grid", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			for _, u := range plain.units() {
				if at(u, 0, 250) {
					b.tracks(testH264("00"))
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2", nil},
		{"new SPS and new audio at once", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			for _, u := range plain.units() {
				if at(u, 0, 250) {
					b.tracks(testH264("00"), testMono())
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2", nil},
		{"HEVC with leading pictures", func(b *bench) {
			b.tracks(testHEVC(), testAAC(48000))
			for _, u := range plain.units() {
				if u.au.Track == 0 {
					// Decode order CRA, two pictures shown before it, then the others.
					u.au.Offset = 80
					if pos := u.index % 50; u.index > 50 && (pos == 1 || pos == 2) {
						u.au.Offset = 0
					}
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2", drops{dropLeading: 8}},
		{"VFR", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			rng := rand.New(rand.NewPCG(5, 6))
			var video []unit
			for when, i := time.Duration(0), 0; when < 16*time.Second; i++ {
				video = append(video, unit{index: i, at: when, sent: when, au: AccessUnit{
					Track: 0, Time: uint64(when.Milliseconds()), Key: i%20 == 0, Payload: payload(0, i),
				}})
				when += time.Duration(20+rng.IntN(180)) * time.Millisecond
			}
			b.send(merge(video, only(plain.units(), func(u unit) bool { return u.au.Track == 1 }))...)
		}, "1998DI/2 1910I/2 3833I/2 4350I/2 3942I/2", nil},
		{"a picture every two seconds, with sound", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			slow := source{fps: 0.5, gop: 1, audio: 48000, length: 16 * time.Second}
			b.send(slow.units()...)
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2", nil},
	})
}

func TestAudioEvents(t *testing.T) {
	plain := plainSource()
	runEvents(t, []event{
		{"another sample rate within a GOP", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			other := plain
			other.audio = 44100
			before := only(plain.units(), func(u unit) bool { return u.au.Track == 0 || u.sent < 9*time.Second })
			after := only(other.units(), func(u unit) bool { return u.au.Track == 1 && u.sent >= 9*time.Second })
			for _, u := range merge(before, after) {
				if u.au.Track == 1 && u.sent >= 9*time.Second {
					b.tracks(testAAC(44100))
				}
				b.send(u)
			}
		}, "2000DI/2 2000I/2 4000I/2 1040I/2 2960D/2 4000I/2", drops{dropOutside: 2}},
		{"three frames of sound missing", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			b.send(only(plain.units(), func(u unit) bool { return u.au.Track == 0 || u.index < 300 || u.index >= 303 })...)
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"half a second of sound sent twice", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			again := only(plain.units(), func(u unit) bool { return u.au.Track == 1 && u.index >= 300 && u.index < 323 })
			for i := range again {
				again[i].sent += 500 * time.Millisecond
			}
			b.send(merge(plain.units(), again)...)
		}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2", drops{dropOverlap: 23}},
		{"only the video jumps", func(b *bench) {
			b.tracks(testH264(""), testAAC(48000))
			us := plain.units()
			for i := range us {
				if us[i].au.Track == 0 && us[i].sent >= 8*time.Second {
					us[i].au.Time += 3600_000
				}
			}
			b.send(us...)
		}, "2000DI/2 2000I/2 4021I/2 4000DI/2 4000I/2", nil},
	})
}

func TestOpus(t *testing.T) {
	b := newBench(t, nil).tracks(media.Track{ID: 1, Params: &media.Opus{ChannelCount: 2}})
	for i := range 500 { // 20 ms packets
		p := append([]byte{0xfc}, payload(1, i)...)
		b.send(unit{sent: time.Duration(i) * 20 * time.Millisecond, au: AccessUnit{Track: 1, Time: uint64(i * 20), Payload: p}})
	}
	checkParts(t, b.finish(), testPart)
	got := frames(b.parts, 1)
	if len(got) != 500 {
		t.Fatalf("%d of 500 packets", len(got))
	}
	for i := range got {
		if n := got[i].PTS.Ticks(48000) - got[0].PTS.Ticks(48000); n != int64(i)*960 {
			t.Fatalf("packet %d lies at sample %d", i, n)
		}
	}
}

// TestRefusedTrack: what comes on a track that was refused is refused as well.
func TestRefusedTrack(t *testing.T) {
	b := newBench(t, nil)
	if err := b.cut.setTrack(media.Track{ID: 1, Params: &media.MP3{ChannelCount: 2}}); reason(err) != ReasonMedia {
		t.Errorf("sound without a rate: %v", err)
	}
	if err := b.cut.write(&AccessUnit{Track: 1, Key: true, Payload: []byte{1}}, b.now); reason(err) != ReasonMedia {
		t.Errorf("a frame of it: %v", err)
	}
}

func TestTrackRefusals(t *testing.T) {
	b := newBench(t, nil).tracks(testH264(""))
	if err := b.cut.setTrack(media.Track{ID: 0, Params: testAAC(48000).Params}); reason(err) != ReasonMedia {
		t.Errorf("a picture became sound: %v", err)
	}
	if err := b.cut.setTrack(media.Track{ID: 3}); reason(err) != ReasonMedia {
		t.Errorf("no parameters: %v", err)
	}
	if err := b.cut.write(&AccessUnit{Track: 9, Payload: []byte{1}}, b.now); reason(err) != ReasonMedia {
		t.Errorf("unknown track: %v", err)
	}
	large, err := media.NewAAC(append([]byte{0x11, 0x90}, make([]byte, 1<<20)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cut.setTrack(media.Track{ID: 3, Params: large}); reason(err) != ReasonMedia || !errors.Is(err, live.ErrParams) {
		t.Errorf("parameters of a megabyte: %v", err)
	}
	for id := media.TrackID(1); err == nil && id < 100; id++ {
		err = b.cut.setTrack(media.Track{ID: id, Params: testAAC(48000).Params})
	}
	if reason(err) != ReasonMedia || !strings.Contains(err.Error(), fmt.Sprint(maxTracks)) {
		t.Errorf("too many tracks: %v", err)
	}
}

func TestPartsAreBounded(t *testing.T) {
	b := newBench(t, nil).tracks(testH264(""))
	big := make([]byte, 1<<20)
	var err error
	sent := 0
	for ; err == nil && sent < 100; sent++ {
		err = b.cut.write(&AccessUnit{Track: 0, Time: uint64(sent), Key: sent == 0, Payload: big}, b.now)
	}
	if reason(err) != ReasonMedia || sent > maxPartBytes>>20+3 {
		t.Errorf("after %d MB: %v", sent, err)
	}
}
