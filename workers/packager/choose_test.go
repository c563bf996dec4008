package packager

import (
	"testing"

	"klive/infra/live"
	"klive/infra/media"
)

// TestQuietInWords: who reads of a switch learns which encoder is meant, and whether it ever sent anything.
func TestQuietInWords(t *testing.T) {
	arrived := live.FeedRecord{Clock: live.ClockRecord{LastArrival: media.Time(1)}}
	for _, c := range []struct {
		index live.Index
		feeds []*feed
		want  string
	}{
		{live.Primary, nil, "the primary sends nothing"},
		{live.Primary, []*feed{{heard: true}}, "the primary sends nothing"},
		{live.Backup, []*feed{{}, {record: arrived}}, "the backup sends nothing"},
		{live.Backup, []*feed{{}, {}}, "the backup is connected and has not sent anything yet"},
	} {
		if got := quiet(c.index, c.feeds); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
