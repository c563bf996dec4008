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

// TestDurationsAreRoundedUp: reckoned back from the last segment, the first does not begin before the
// playlist, where players would drop its pictures.
func TestDurationsAreRoundedUp(t *testing.T) {
	const start = media.Time(1_772_366_400e9)
	for each, want := range map[time.Duration]string{
		2 * time.Second:             "2.000000",
		2002 * time.Millisecond:     "2.002000",
		833333333 * time.Nanosecond: "0.833334",
		time.Second + 1:             "1.000001",
	} {
		records := []timeline.Record{
			&timeline.Started{ID: "abcdefgh", Start: start},
			&timeline.Described{Rendition: timeline.Rendition{Name: rung, Kind: media.Video, Codecs: "avc1.64001e", Width: 640, Height: 360, Inits: 1}},
		}
		for i := range 6 {
			at := start.Add(time.Duration(i) * each)
			m := timeline.Media{Rendition: rung, Name: (&live.Segment{Start: at}).Name(live.Feed{Epoch: 1}), Start: at, Duration: each, Init: 1}
			records = append(records, &timeline.Adopted{Item: timeline.Item{Start: at, Duration: each, Media: []timeline.Media{m}}, Target: 3, Independent: true})
			m.Stored, m.Size = true, 100_000
			records = append(records, &timeline.Stored{Seq: uint64(i + 1), Media: []timeline.Media{m}})
		}
		if text := playlist.Live(fold(t, records...).Current(), rung, 6); strings.Count(text, "#EXTINF:"+want+",") != 6 {
			t.Errorf("%v is not written %s:\n%s", each, want, text)
		}
	}
}
