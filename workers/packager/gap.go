package packager

import (
	"fmt"
	"time"

	"klive/infra/media"
	"klive/storage/timeline"
)

// maxJoint is how far the ends of a rendition's media may lie from those of its item: a frame
// of sound at 8 kHz, twice.
const maxJoint = 256 * time.Millisecond

// spans tells, by rendition, where the outputs begin and end: sound rarely does with its item.
func spans(outputs []output) (starts, ends map[string]media.Time) {
	starts, ends = map[string]media.Time{}, map[string]media.Time{}
	for i := range outputs {
		o := &outputs[i]
		start, length := span(o, o.seg.Frames(o.track.ID))
		starts[o.rendition], ends[o.rendition] = start, start.Add(length)
	}
	return starts, ends
}

// gapMedia returns the media of an item that has none, in each rendition: from where the
// rendition's media before it end to where those behind it begin, so that the durations in a
// playlist add up.
func gapMedia(b *timeline.Broadcast, it *item) []timeline.Media {
	out := make([]timeline.Media, 0, len(b.Renditions))
	for _, r := range b.Renditions {
		start, end := it.start, it.end
		if n := len(b.Items); n > 0 {
			if m := b.Items[n-1].Of(r.Name); m != nil {
				start = near(m.Start.Add(m.Duration), start)
			}
		}
		if at, ok := it.joins[r.Name]; ok {
			end = near(at, end)
		}
		if end <= start { // the joints have crossed in a short item
			start, end = it.start, it.end
		}
		out = append(out, timeline.Media{
			Rendition: r.Name, Name: fmt.Sprintf("%d-0", it.start.Micros()), Start: start, Duration: end.Sub(start), Gap: true,
		})
	}
	return out
}

// near is at when that is a joint with otherwise, else otherwise.
func near(at, otherwise media.Time) media.Time {
	if at.Sub(otherwise).Abs() <= maxJoint {
		return at
	}
	return otherwise
}
