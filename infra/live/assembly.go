package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
)

// ErrAssembly says that parts don't make a segment: one is missing or of another segment.
var ErrAssembly = errors.New("live: parts don't make a segment")

// Assembly is a segment as it is put together from its parts. What it yields depends on the
// parts and on From alone, so whoever has the same parts makes the same media.
type Assembly struct {
	Feed    Feed
	Segment Segment
	// First and Last are the media plane's numbers of the first and of the newest part.
	First, Last uint64
	// From is where the segment is entered, an instant of [Assembly.Entry]: frames before it
	// are left out. 0 means at its start.
	From media.Time

	parts []*Part
	size  int
}

// NewAssembly begins a segment with its first part, which has the number first on the media
// plane.
func NewAssembly(p *Part, first uint64) (*Assembly, error) {
	if p.Number != 0 {
		return nil, fmt.Errorf("%w: feed %s begins with part %d of segment %d", ErrAssembly, p.Feed, p.Number, p.Segment.Number)
	}
	return &Assembly{Feed: p.Feed, Segment: p.Segment, First: first, Last: first, parts: []*Part{p}, size: p.Size()}, nil
}

// Add adds the part that follows, which has the number seq on the media plane.
func (a *Assembly) Add(p *Part, seq uint64) error {
	last := a.parts[len(a.parts)-1]
	switch {
	case p.Feed != a.Feed || p.Segment.Number != a.Segment.Number:
		return fmt.Errorf("%w: segment %d of %s goes on with a part of segment %d of %s", ErrAssembly, a.Segment.Number, a.Feed, p.Segment.Number, p.Feed)
	case last.Last || p.Seq != last.Seq+1 || p.Number <= last.Number || seq != a.Last+1:
		return fmt.Errorf("%w: part %d of %s is followed by part %d", ErrAssembly, last.Seq, a.Feed, p.Seq)
	}
	a.parts, a.Last, a.size = append(a.parts, p), seq, a.size+p.Size()
	return nil
}

// Gather reads the parts numbered first to last with next, which returns a part and its
// number on the media plane, and puts them together.
func Gather(ctx context.Context, next func(context.Context) (uint64, *Part, error), first, last uint64, from media.Time) (*Assembly, error) {
	var a *Assembly
	for a == nil || a.Last < last {
		seq, p, err := next(ctx)
		switch {
		case err != nil:
			return nil, err
		case a != nil:
			err = a.Add(p, seq)
		case seq != first:
			err = fmt.Errorf("%w: message %d is wanted and %d is the first", ErrAssembly, first, seq)
		default:
			a, err = NewAssembly(p, seq)
		}
		if err != nil {
			return nil, err
		}
	}
	a.From = from
	return a, nil
}

// Complete reports whether the segment's last part is there.
func (a *Assembly) Complete() bool { return a.newest().Last }

// Final reports whether the newest part is the feed's last.
func (a *Assembly) Final() bool { return a.newest().Final }

func (a *Assembly) newest() *Part { return a.parts[len(a.parts)-1] }

// Number is the segment's in its feed.
func (a *Assembly) Number() uint64 { return a.Segment.Number }

// Size is the parts' memory in bytes.
func (a *Assembly) Size() int { return a.size }

// Start is where the segment begins, seen from where it is entered.
func (a *Assembly) Start() media.Time {
	if a.From != 0 {
		return a.From
	}
	return a.Segment.Start
}

// End is where the segment ends. While parts are missing it is the end of the frames that
// are there: the video's, or the audio's when there is no video.
func (a *Assembly) End() media.Time {
	if p := a.newest(); p.Last {
		return p.End
	}
	end := a.Segment.Start
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		t, ok := a.Track(kind)
		if !ok {
			continue
		}
		a.each(t.ID, func(f *media.Frame) bool { end = max(end, f.End()); return true })
		if end > a.Segment.Start {
			break
		}
	}
	return end
}

// Duration is the distance from [Assembly.Start] to [Assembly.End].
func (a *Assembly) Duration() time.Duration { return a.End().Sub(a.Start()) }

// Name is the name of the segment's media: "<start in µs>-<feed epoch>".
func (a *Assembly) Name() string {
	s := a.Segment
	s.Start = a.Start()
	return s.Name(a.Feed)
}

// Track returns the first track of a kind: the one that a rendition of that kind is made of.
func (a *Assembly) Track(kind media.Kind) (media.Track, bool) {
	for _, t := range a.Segment.Tracks {
		if t.Params.Kind() == kind {
			return t, true
		}
	}
	return media.Track{}, false
}

// SoundRendition names the rendition that is made of a track of sound: "<entry>_a<n>". The first
// track of a segment makes number 1, others that of their id.
func SoundRendition(entry string, n int) string { return entry + "_a" + strconv.Itoa(n) }

// TrackOf returns the track that a rendition of a kind is made of. Sound with a number above 1
// is the track with that id, everything else the first of its kind.
func (a *Assembly) TrackOf(rendition string, kind media.Kind) (media.Track, bool) {
	if i := strings.LastIndex(rendition, "_a"); kind == media.Audio && i >= 0 {
		if n, err := strconv.ParseUint(rendition[i+len("_a"):], 10, 16); err == nil && n > 1 {
			t, ok := a.Segment.Track(media.TrackID(n))
			return t, ok && n <= 255 && t.Params.Kind() == kind
		}
	}
	return a.Track(kind)
}

// Data returns the timed data that came with the segment.
func (a *Assembly) Data() (list []media.Data) {
	for _, p := range a.parts {
		list = append(list, p.Data...)
	}
	return list
}

// Entry returns the first instant at or after at where the segment can be entered: its
// start, the PTS of a random access point of the video, or of any frame when there is no video.
func (a *Assembly) Entry(at media.Time) (media.Time, bool) {
	if a.Segment.Start >= at {
		return a.Segment.Start, true
	}
	t, ok := a.Track(media.Video)
	if !ok {
		t, ok = a.Track(media.Audio)
	}
	var entry media.Time
	found := false
	if ok {
		a.each(t.ID, func(f *media.Frame) bool {
			if f.Key && f.PTS >= at {
				entry, found = f.PTS, true
			}
			return !found
		})
	}
	return entry, found
}

// Frames returns the segment's frames of one track, in decode order. Behind From, video
// begins with a random access point, without the pictures that are shown before it.
func (a *Assembly) Frames(id media.TrackID) []*media.Frame {
	n := 0
	for _, p := range a.parts {
		n += len(p.Frames)
	}
	out := make([]*media.Frame, 0, n)
	first := a.From
	video := false
	if t, ok := a.Segment.Track(id); ok {
		video = t.Params.Kind() == media.Video
	}
	a.each(id, func(f *media.Frame) bool {
		switch {
		case f.PTS < first:
		case a.From != 0 && video && len(out) == 0 && !f.Key:
		default:
			if len(out) == 0 && video && a.From != 0 {
				first = f.PTS
			}
			out = append(out, f)
		}
		return true
	})
	return out
}

// each calls do for the frames of a track, in decode order, until it returns false.
func (a *Assembly) each(id media.TrackID, do func(*media.Frame) bool) {
	for _, p := range a.parts {
		for i := range p.Frames {
			if p.Frames[i].Track == id && !do(&p.Frames[i]) {
				return
			}
		}
	}
}
