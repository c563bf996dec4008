package playlist_test

import (
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// TestWindowOfShortSound holds that sound that is shorter than its pictures keeps a segment more, so
// that its playlist too never falls below three target durations (RFC 8216 §6.2.2).
func TestWindowOfShortSound(t *testing.T) {
	const video, audio, start = "0_rkij47dr_32", "0_rkij47dr_a1", media.Time(1_772_366_400e9)
	records := []timeline.Record{
		&timeline.Started{ID: "abcdefgh", Start: start},
		&timeline.Described{Rendition: timeline.Rendition{Name: video, Kind: media.Video, Codecs: "avc1.64001e", Width: 640, Height: 360, Inits: 1, Audio: audio}},
		&timeline.Described{Rendition: timeline.Rendition{Name: audio, Kind: media.Audio, Codecs: "mp4a.40.2", Inits: 1}},
	}
	for i := range 6 {
		at := start.Add(time.Duration(i) * time.Second)
		name := (&live.Segment{Start: at}).Name(live.Feed{Epoch: 1})
		pictures := timeline.Media{Rendition: video, Name: name, Start: at, Duration: time.Second, Init: 1}
		sound := pictures
		sound.Rendition, sound.Duration = audio, 999*time.Millisecond
		records = append(records, &timeline.Adopted{Item: timeline.Item{Start: at, Duration: time.Second, Media: []timeline.Media{pictures, sound}}, Target: 1, Independent: true})
		pictures.Stored, pictures.Size, sound.Stored, sound.Size = true, 100_000, true, 10_000
		records = append(records, &timeline.Stored{Seq: uint64(i + 1), Media: []timeline.Media{pictures, sound}})
	}
	b := fold(t, records...).Current()
	for rendition, want := range map[string]int{video: 3, audio: 4} {
		if text := playlist.Live(b, rendition, 2); strings.Count(text, "#EXTINF") != want {
			t.Errorf("%s, want %d segments:\n%s", rendition, want, text)
		}
	}
}
