package playlist_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// encodedLadder is a broadcast with a source, 32, and a rung, 33, of whose items the first n
// are made and the next one is a gap.
func encodedLadder(t *testing.T, items, n int) *timeline.State {
	t.Helper()
	const entry, start = "0_rkij47dr", media.Time(1_772_366_400e9)
	records := []timeline.Record{
		&timeline.Started{ID: "abcdefgh", Start: start},
		&timeline.Described{Rendition: timeline.Rendition{Name: entry + "_32", Kind: media.Video, Codecs: "avc1.64001e", Width: 1280, Height: 720, Inits: 1, Rung: live.Rung{ParamsID: 32, Name: "source"}}},
		&timeline.Described{Rendition: timeline.Rendition{Name: entry + "_33", Kind: media.Video, Codecs: "avc1.4d401e", Width: 640, Height: 360, Inits: 1, Encoded: true,
			Rung: live.Rung{ParamsID: 33, Name: "rung", Video: live.VideoRung{Mode: live.ModeEncode, Bitrate: 600_000}}}},
	}
	for i := range items {
		at := start.Add(time.Duration(i) * 4 * time.Second)
		name := (&live.Segment{Start: at}).Name(live.Feed{Epoch: 1})
		m := func(r string) timeline.Media {
			return timeline.Media{Rendition: entry + r, Name: name, Start: at, Duration: 4 * time.Second}
		}
		source, rung := m("_32"), m("_33")
		rung.Encode = &timeline.Encode{Job: &live.Job{}}
		records = append(records, &timeline.Adopted{Item: timeline.Item{Start: at, Duration: 4 * time.Second, Media: []timeline.Media{source, rung}}, Target: 4, Independent: true})
		source.Stored, source.Size, source.Init = true, 1_000_000, 1
		list := []timeline.Media{source}
		rung.Encode = &timeline.Encode{Attempt: "a", Parts: 1}
		switch {
		case i < n:
			rung.Stored, rung.Size, rung.Init = true, 250_000, 1
			list = append(list, rung)
		case i == n:
			rung.Gap = true
			list = append(list, rung)
		}
		records = append(records, &timeline.Stored{Seq: uint64(i + 1), Media: list})
	}
	return fold(t, records...)
}

// TestEncoded holds what playlists say of a rung that is later than its source.
func TestEncoded(t *testing.T) {
	const rung = "0_rkij47dr_33"
	s := encodedLadder(t, 12, 9)
	b := s.Current()
	golden(t, "encoded-source", playlist.Live(b, "0_rkij47dr_32", 5))
	golden(t, "encoded-rung", playlist.Live(b, rung, 5))
	golden(t, "encoded-multivariant", playlist.Multivariant(b, sel(t, "smil:0_rkij47dr_all.smil"), false))
	if playlist.Announced(b, rung) {
		t.Error("a rung that has begun is announced")
	}
}

// TestEncodedLater adds a rung to a broadcast that has run without: no playlist begins earlier
// than it did.
func TestEncodedLater(t *testing.T) {
	whole := encodedLadder(t, 20, 20).Current()
	last := uint64(0)
	for n := 1; n <= 20; n++ {
		b := *whole
		b.Items = whole.Items[:n]
		b.Renditions = append([]timeline.Rendition(nil), whole.Renditions...)
		if b.Renditions[1].First = 10; n < 10 {
			b.Renditions = b.Renditions[:1]
		}
		text := playlist.Live(&b, "0_rkij47dr_32", 5)
		_, rest, _ := strings.Cut(text, "MEDIA-SEQUENCE:")
		var seq uint64
		if _, err := fmt.Sscan(rest, &seq); err != nil || seq < last {
			t.Fatalf("with %d items the playlist begins with %d, before with %d, %v", n, seq, last, err)
		}
		last = seq
	}
	if last != 13 {
		t.Errorf("the last window begins with %d, want 13", last)
	}
}

// TestEncodedAnnounced holds that the first multivariant playlist lists a rung that has nothing
// yet, at what it may need, and that nothing is listed while the source has nothing.
func TestEncodedAnnounced(t *testing.T) {
	const rung = "0_rkij47dr_33"
	b := encodedLadder(t, 1, -5).Current()
	text := playlist.Multivariant(b, sel(t, "smil:0_rkij47dr_all.smil"), false)
	for _, want := range []string{"_32/v.m3u8", "_33/v.m3u8", "BANDWIDTH=737280,AVERAGE-BANDWIDTH=606208", `CODECS="avc1.4d401e",RESOLUTION=640x360`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if text := playlist.Multivariant(b, sel(t, rung), false); text != "" {
		t.Errorf("a rung alone is listed that has nothing:\n%s", text)
	}
	if text := playlist.MultivariantTS(b, sel(t, rung), false); text != "" {
		t.Errorf("in MPEG-TS a rung alone is listed that has nothing:\n%s", text)
	}
	if text := playlist.MultivariantTS(b, sel(t, "smil:0_rkij47dr_all.smil"), false); !strings.Contains(text, "_33/ts.m3u8") {
		t.Errorf("in MPEG-TS the rung is not listed beside its source:\n%s", text)
	}
	if !playlist.Announced(b, rung) || playlist.Live(b, rung, 5) != "" {
		t.Error("the rung is not announced, or has a playlist")
	}
	gap := encodedLadder(t, 1, 0).Current()
	if text := playlist.Live(gap, rung, 5); !strings.Contains(text, "#EXT-X-GAP") {
		t.Errorf("a rung that nobody made:\n%s", text)
	}
}
