package timeline

import (
	"testing"

	"klive/infra/live"
)

// In a chapter the feed of what a gap can be made again from stays: two bitrates of one encoder
// may have the same names.
func TestChapterKeepsSources(t *testing.T) {
	feed := func(suffix int) live.Feed {
		return live.Feed{FeedID: live.FeedID{Entry: "0_rkij47dr", Suffix: suffix}, Epoch: 1796005660}
	}
	const name = "1796005720777327-1796005660"
	it := withoutParts(Item{Media: []Media{
		{Rendition: "0_rkij47dr_32", Name: name, Feed: feed(1), FirstPart: 1, LastPart: 9, From: 5, Stored: true},
		{Rendition: "0_rkij47dr_33", Name: name, Feed: feed(2), FirstPart: 3, LastPart: 12, Stored: true},
		{Rendition: "0_rkij47dr_34", Name: name, Gap: true, Encode: &Encode{Feed: feed(1), Video: &live.VideoJob{}}},
		{Rendition: "0_rkij47dr_a2", Name: name, Gap: true, Encode: &Encode{Feed: feed(2)}},
	}})
	if m := it.Media[0]; m.Feed != feed(1) || m.FirstPart != 0 || m.LastPart != 0 || m.From != 0 {
		t.Errorf("the source of a gap is %+v", m)
	}
	if m := it.Media[1]; m.Feed != (live.Feed{}) || m.LastPart != 0 {
		t.Errorf("what no picture can be made from is %+v", m)
	}
}
