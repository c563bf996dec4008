package packager

import (
	"testing"

	"klive/infra/live"
)

// TestLeadOfOtherBitrate holds that a job begins at its own publish's keyframe, whatever
// another bitrate of the place does between.
func TestLeadOfOtherBitrate(t *testing.T) {
	p := &Packager{leads: map[live.Feed]uint64{}}
	of := func(f live.Feed, first uint64, independent bool) *segment {
		return &segment{Assembly: &live.Assembly{Feed: f, First: first, Last: first + 9, Segment: live.Segment{Independent: independent}}}
	}
	low, high, again := feedOf(live.Primary, 1, 1), feedOf(live.Primary, 2, 2), feedOf(live.Primary, 1, 3)
	p.lead(of(low, 1, true))
	p.lead(of(high, 1, true))
	p.lead(of(high, 11, true))
	if got := p.lead(of(low, 11, false)); got != 1 {
		t.Errorf("the lower bitrate's job reads from part %d, want 1", got)
	}
	p.lead(of(again, 1, true))
	if _, ok := p.leads[low]; ok || len(p.leads) != 2 {
		t.Errorf("after another publish of the place: %v", p.leads)
	}
}
