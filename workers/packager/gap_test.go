package packager

import (
	"testing"
	"time"

	"klive/infra/media"
	"klive/storage/timeline"
)

// TestGapItems holds that what covers a hole lasts, in each item and rendition: the timeline
// takes nothing that ends where it begins.
func TestGapItems(t *testing.T) {
	g := newRig(t)
	_, end := g.start()
	end()
	p := g.p
	at := media.At(time.Now())
	for _, tt := range []struct {
		hole  time.Duration
		items int
	}{
		{minHole, 1}, {2 * time.Second, 1}, {2001 * time.Millisecond, 2}, {4001 * time.Millisecond, 3}, {60 * time.Second, 30},
	} {
		p.backlog, p.end.at, p.end.target = nil, at, 2
		next := &item{start: at.Add(tt.hole)}
		if !p.fill(next) || len(p.backlog) != tt.items || p.end.at != next.start {
			t.Errorf("a hole of %v: %d items up to %v, want %d up to %v", tt.hole, len(p.backlog), p.end.at.Sub(at), tt.items, tt.hole)
		}
		from := at
		for _, it := range p.backlog {
			d := it.end.Sub(it.start)
			if it.start != from || d < minHole || d > 2*time.Second {
				t.Errorf("a hole of %v: an item of %v at %v", tt.hole, d, it.start.Sub(at))
			}
			from = it.end
		}
	}
	if p.end.at = at; p.fill(&item{start: at.Add(maxGapItems*2*time.Second + 1)}) {
		t.Error("a longer hole is filled")
	}
}

// TestGapMediaBetweenSounds holds where a gap's media begin and end: at the joints, as long as
// they lie in order.
func TestGapMediaBetweenSounds(t *testing.T) {
	at := media.At(time.Now())
	for _, tt := range []struct {
		name           string
		before, behind time.Duration // of the sound, against the item
		start, length  time.Duration
	}{
		{name: "late", before: 20 * time.Millisecond, behind: 15 * time.Millisecond, start: 20 * time.Millisecond, length: 95 * time.Millisecond},
		{name: "crossed", before: 90 * time.Millisecond, behind: -60 * time.Millisecond, length: 100 * time.Millisecond},
	} {
		b := &timeline.Broadcast{Renditions: []timeline.Rendition{{Name: "a"}}, Items: []timeline.Item{
			{Media: []timeline.Media{{Rendition: "a", Start: at.Add(tt.before - time.Second), Duration: time.Second}}},
		}}
		it := &item{start: at, end: at.Add(100 * time.Millisecond), joins: map[string]media.Time{"a": at.Add(100*time.Millisecond + tt.behind)}}
		m := gapMedia(b, it)[0]
		if m.Start.Sub(at) != tt.start || m.Duration != tt.length {
			t.Errorf("%s: %v from %v, want %v from %v", tt.name, m.Duration, m.Start.Sub(at), tt.length, tt.start)
		}
	}
}
