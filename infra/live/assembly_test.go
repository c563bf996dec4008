package live

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/media"
)

// gop is a segment of two GOPs in four parts: at 25 frames a second, a keyframe first and
// in the middle, with a picture that is shown before the second keyframe and decoded behind
// it, and audio each 20 ms.
func gop(start media.Time) []*Part {
	tracks := wireTracks()[:2]
	feed := Feed{FeedID: FeedID{Entry: "0_rkij47dr", Index: Backup, Suffix: 1}, Epoch: 7}
	seg := Segment{Start: start, Number: 3, Tracks: tracks, Independent: true, Target: 4 * time.Second}
	var parts []*Part
	for n := range 4 {
		p := &Part{Feed: feed, Seq: uint64(10 + n), Number: n, Segment: seg}
		for i := range 10 {
			at := start.Add(time.Duration(10*n+i) * 40 * time.Millisecond)
			p.Frames = append(p.Frames,
				media.Frame{DTS: at, PTS: at, Duration: 40 * time.Millisecond, Key: i == 0 && n%2 == 0, Payload: []byte{byte(n), byte(i)}},
				media.Frame{Track: 1, DTS: at, PTS: at, Duration: 20 * time.Millisecond, Key: true, Payload: []byte{9, byte(n), byte(i)}},
				media.Frame{Track: 1, DTS: at + 20e6, PTS: at + 20e6, Duration: 20 * time.Millisecond, Key: true, Payload: []byte{8, byte(n), byte(i)}})
		}
		parts = append(parts, p)
	}
	// The picture behind the second keyframe is shown before it.
	parts[2].Frames[3].PTS = start.Add(790 * time.Millisecond)
	parts[3].Last, parts[3].End = true, start.Add(1600*time.Millisecond)
	return parts
}

func reader(parts []*Part, first uint64) func(context.Context) (uint64, *Part, error) {
	i := -1
	return func(context.Context) (uint64, *Part, error) {
		if i++; i >= len(parts) {
			return 0, nil, io.EOF
		}
		return first + uint64(i), parts[i], nil
	}
}

func TestAssemblyWhole(t *testing.T) {
	const start = media.Time(1e18)
	a, err := Gather(t.Context(), reader(gop(start), 5), 5, 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Complete() || a.Final() || a.First != 5 || a.Last != 8 || a.Start() != start || a.Duration() != 1600*time.Millisecond || a.Size() == 0 {
		t.Errorf("%+v", a)
	}
	if v, s := len(a.Frames(0)), len(a.Frames(1)); v != 40 || s != 80 {
		t.Errorf("%d pictures, %d frames of sound", v, s)
	}
	if a.Name() != "1000000000000000-7" {
		t.Errorf("name %s", a.Name())
	}
	if tr, ok := a.Track(media.Audio); !ok || tr.ID != 1 {
		t.Errorf("audio track %v", tr)
	}
}

func TestAssemblyEntered(t *testing.T) {
	const start = media.Time(1e18)
	a, err := Gather(t.Context(), reader(gop(start), 1), 1, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := a.Entry(start.Add(300 * time.Millisecond))
	if !ok || at != start.Add(800*time.Millisecond) {
		t.Fatalf("entry at %v: %v", at.Sub(start), ok)
	}
	a.From = at
	video, audio := a.Frames(0), a.Frames(1)
	if len(video) != 19 || !video[0].Key || video[0].PTS != at || video[1].PTS < at {
		t.Errorf("%d pictures from %v on", len(video), video[0].PTS.Sub(start))
	}
	if len(audio) != 40 || audio[0].PTS != at {
		t.Errorf("%d frames of sound from %v on", len(audio), audio[0].PTS.Sub(start))
	}
	if a.Start() != at || a.Duration() != 800*time.Millisecond || a.Name() != "1000000000800000-7" {
		t.Errorf("start %v, %v, %s", a.Start().Sub(start), a.Duration(), a.Name())
	}
	if e, ok := a.Entry(start.Add(-time.Second)); !ok || e != start {
		t.Errorf("entry before the start: %v, %v", e, ok)
	}
	if e, ok := a.Entry(start.Add(801 * time.Millisecond)); ok {
		t.Errorf("entry behind the last keyframe: %v", e)
	}
}

// TestAssemblyBrokenOff holds the end of a segment whose last part never came.
func TestAssemblyBrokenOff(t *testing.T) {
	const start = media.Time(1e18)
	a, err := Gather(t.Context(), reader(gop(start), 1), 1, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a.Complete() || a.Duration() != 800*time.Millisecond {
		t.Errorf("complete %v, %v long", a.Complete(), a.Duration())
	}
}

// TestTrackOf: the first track of sound has number 1 whatever its id, others that of their id.
func TestTrackOf(t *testing.T) {
	tracks := wireTracks()
	a := &Assembly{Segment: Segment{Tracks: tracks[:3]}}
	late := &Assembly{Segment: Segment{Tracks: []media.Track{tracks[0], tracks[2]}}} // 1 has fallen silent
	for _, c := range []struct {
		a         *Assembly
		rendition string
		kind      media.Kind
		want      int // -1: none
	}{
		{a, "0_abcdefgh_32", media.Video, 0}, {a, "0_abcdefgh_a1", media.Audio, 1}, {a, "0_abcdefgh_a2", media.Audio, 2}, {a, "0_abcdefgh_a3", media.Audio, -1},
		{a, "0_abcdefgh_a258", media.Audio, -1}, {late, "0_abcdefgh_a1", media.Audio, 2}, {late, "0_abcdefgh_a2", media.Audio, 2},
		{&Assembly{Segment: Segment{Tracks: wireTracks()[:4]}}, "0_abcdefgh_a3", media.Audio, -1}, // that is a picture
	} {
		tr, ok := c.a.TrackOf(c.rendition, c.kind)
		if ok != (c.want >= 0) || ok && int(tr.ID) != c.want {
			t.Errorf("%s is made of track %d (%v), want %d", c.rendition, tr.ID, ok, c.want)
		}
	}
	if SoundRendition("0_abcdefgh", 2) != "0_abcdefgh_a2" {
		t.Error(SoundRendition("0_abcdefgh", 2))
	}
}

func TestAssemblyRefuses(t *testing.T) {
	parts := gop(1e18)
	other := *parts[1]
	other.Feed.Epoch++
	next := *parts[1]
	next.Segment.Number++
	for name, list := range map[string][]*Part{
		"a hole":            {parts[0], parts[2]},
		"twice":             {parts[0], parts[0]},
		"another publish":   {parts[0], &other},
		"another segment":   {parts[0], &next},
		"no beginning":      parts[1:],
		"behind the end":    append(slices.Clone(parts), parts[3]),
		"a wrong beginning": nil,
	} {
		first := uint64(1)
		if list == nil {
			list, first = parts, 2
		}
		if _, err := Gather(t.Context(), reader(list, first), 1, uint64(len(list)), 0); !errors.Is(err, ErrAssembly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Gather(t.Context(), reader(parts, 1), 1, 9, 0); !errors.Is(err, io.EOF) && !errors.Is(err, ErrAssembly) {
		t.Errorf("too short: %v", err)
	}
}

// TestAssemblyIsPure holds that the wire changes nothing of what an assembly yields.
func TestAssemblyIsPure(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		start := media.Time(rapid.Int64Range(1e15, 2e18).Draw(r, "start"))
		parts := gop(start)
		a, err := Gather(t.Context(), reader(parts, 1), 1, 4, 0)
		if err != nil {
			r.Fatal(err)
		}
		if at, ok := a.Entry(start.Add(time.Duration(rapid.Int64Range(0, 2e9).Draw(r, "at")))); ok && at != start {
			a.From = at
		}
		var copies []*Part
		for _, p := range parts {
			b, err := p.AppendBinary(nil)
			if err != nil {
				r.Fatal(err)
			}
			c, err := UnmarshalPart(b)
			if err != nil {
				r.Fatal(err)
			}
			copies = append(copies, c)
		}
		b, err := Gather(t.Context(), reader(copies, 1), 1, 4, a.From)
		if err != nil {
			r.Fatal(err)
		}
		for _, id := range []media.TrackID{0, 1} {
			x, y := a.Frames(id), b.Frames(id)
			if len(x) == 0 || !slices.EqualFunc(x, y, func(f, g *media.Frame) bool {
				return f.DTS == g.DTS && f.PTS == g.PTS && f.Duration == g.Duration && f.Key == g.Key && string(f.Payload) == string(g.Payload)
			}) {
				r.Fatalf("track %d: %d and %d frames", id, len(x), len(y))
			}
		}
	})
}
