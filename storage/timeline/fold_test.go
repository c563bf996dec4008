package timeline_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/media"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

const sec = time.Second

func fold(t *testing.T, records ...timeline.Record) *timeline.State {
	t.Helper()
	s, err := tt.Fold(records...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t *testing.T, s *timeline.State, records ...timeline.Record) *timeline.State {
	t.Helper()
	s, err := tt.Apply(s, records...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFoldNumbersItems(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	for i, disc := range []bool{true, false, true, false} {
		s = apply(t, s, sc.Adopt(4*sec, disc), sc.Store())
		_ = i
	}
	s = apply(t, s, &timeline.Ended{End: sc.At}, &timeline.Started{ID: "secondbroadcast", Start: sc.At},
		&timeline.Described{Rendition: tt.VideoRendition(1)}, &timeline.Described{Rendition: tt.AudioRendition(1)},
		sc.Adopt(4*sec, true), sc.Adopt(4*sec, false))
	type row struct {
		seq, disc uint64
		tag       bool
	}
	var got []row
	for _, b := range s.Broadcasts {
		for _, it := range b.Items {
			got = append(got, row{it.Seq, it.DiscontinuitySeq, it.Discontinuity})
		}
	}
	want := []row{{1, 1, false}, {2, 1, false}, {3, 2, true}, {4, 2, false}, {5, 3, false}, {6, 3, false}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(row{})); d != "" {
		t.Error(d)
	}
	if s.NextSeq != 7 || s.NextDiscontinuity != 4 {
		t.Errorf("next are %d and %d", s.NextSeq, s.NextDiscontinuity)
	}
}

func TestFoldMeasures(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	peak := func() int64 { return s.Current().Rendition(tt.Video).Peak }
	// A segment shorter than half a target does not count alone.
	sc.Rate = 9_000_000
	s = apply(t, s, sc.Adopt(1*sec, false), sc.Store())
	if peak() != 0 {
		t.Errorf("peak %d after one short segment", peak())
	}
	// With the next one it does: (9 MB + 4·1 MB) / 5 s.
	sc.Rate = 1_000_000
	s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	if want := int64(13_000_000 * 8 / 5); peak() != want {
		t.Errorf("peak %d, want %d", peak(), want)
	}
	r := s.Current().Rendition(tt.Video)
	if r.Bytes != 13_000_000 || r.Duration != 5*sec || r.First != 1 {
		t.Errorf("%+v", r)
	}
	// Storing again, or a gap where media are, changes nothing.
	again := apply(t, s, sc.Store(), sc.Gap())
	if d := cmp.Diff(s.Broadcasts, again.Broadcasts); d != "" {
		t.Error(d)
	}
}

func TestFoldRejects(t *testing.T) {
	sc := tt.NewScript()
	open := fold(t, sc.Open(tt.Broadcast, 0)...)
	open = apply(t, open, sc.Adopt(4*sec, false), sc.Store(), sc.Adopt(4*sec, false))
	good := func() *timeline.Adopted { c := *sc; return c.Adopt(4*sec, false) }
	with := func(change func(*timeline.Adopted)) timeline.Record { a := good(); change(a); return a }
	stored := func(change func(*timeline.Media)) timeline.Record {
		r := sc.Store()
		change(&r.Media[0])
		return r
	}
	tests := map[string]timeline.Record{
		"second start":         &timeline.Started{ID: "anotherone", Start: sc.At},
		"claim mismatch":       &timeline.Claimed{Epoch: 1, Owner: "somebody else"},
		"foreign rendition":    &timeline.Described{Rendition: timeline.Rendition{Name: "0_aaaaaaaa_1", Kind: media.Video}},
		"rendition path":       &timeline.Described{Rendition: timeline.Rendition{Name: tt.Entry + "_/../x", Kind: media.Video}},
		"rendition no kind":    &timeline.Described{Rendition: timeline.Rendition{Name: tt.Entry + "_9"}},
		"inits back":           &timeline.Described{Rendition: tt.VideoRendition(0)},
		"wrong seq":            with(func(a *timeline.Adopted) { a.Item.Seq = 9 }),
		"no duration":          with(func(a *timeline.Adopted) { a.Item.Duration = 0 }),
		"before the last":      with(func(a *timeline.Adopted) { a.Item.Start = tt.Start }),
		"no media":             with(func(a *timeline.Adopted) { a.Item.Media = nil }),
		"unknown rendition":    with(func(a *timeline.Adopted) { a.Item.Media[0].Rendition = tt.Entry + "_99" }),
		"rendition twice":      with(func(a *timeline.Adopted) { a.Item.Media[1].Rendition = tt.Video }),
		"name":                 with(func(a *timeline.Adopted) { a.Item.Media[0].Name = "../x" }),
		"stored and gap":       with(func(a *timeline.Adopted) { a.Item.Media[0].Stored, a.Item.Media[0].Gap = true, true }),
		"stored never adopted": &timeline.Stored{Seq: 3},
		"stored other name":    stored(func(m *timeline.Media) { m.Name = "1-1" }),
		"stored no size":       stored(func(m *timeline.Media) { m.Size = 0 }),
		"stored no init":       stored(func(m *timeline.Media) { m.Init = 2 }),
		"stored neither":       stored(func(m *timeline.Media) { m.Stored = false }),
		"stored rendition":     stored(func(m *timeline.Media) { m.Rendition = tt.Entry + "_99" }),
		"chapter unsettled":    &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{Key: "k", FirstSeq: 1, LastSeq: 2, Duration: 8 * sec}},
		"chapter elsewhere":    &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{Key: "k", FirstSeq: 5, LastSeq: 6, Duration: 8 * sec}},
		"expire all":           &timeline.Expired{Broadcast: tt.Broadcast, Before: 3},
	}
	before, _ := json.Marshal(open)
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.Apply(open, r); !errors.Is(err, timeline.ErrRecord) {
				t.Errorf("Apply = %v, want ErrRecord", err)
			}
		})
	}
	if after, _ := json.Marshal(open); string(after) != string(before) {
		t.Errorf("a refused record changed the state:\n%s", cmp.Diff(string(before), string(after)))
	}
	if _, err := tt.Apply(open, good()); err != nil {
		t.Errorf("the unchanged record: %v", err)
	}
}

// A state that somebody reads must not change when records are folded in behind it, even
// when two folds start from it.
func TestFoldIsPure(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	var states []*timeline.State
	var texts []string
	for i := range 30 {
		for _, r := range []timeline.Record{sc.Adopt(4*sec, i%5 == 0), sc.Store(tt.Audio), sc.Store()} {
			b, _ := json.Marshal(s)
			states, texts = append(states, s), append(texts, string(b))
			if _, err := tt.Apply(s, r); err != nil {
				t.Fatal(err)
			}
			s = apply(t, s, r)
		}
		if i == 20 {
			s = apply(t, s, &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{Key: "k", FirstSeq: 1, LastSeq: 10, Duration: 40 * sec}},
				&timeline.Expired{Broadcast: tt.Broadcast, Before: 11})
		}
	}
	for i, old := range states {
		if b, _ := json.Marshal(old); string(b) != texts[i] {
			t.Fatalf("state %d has changed:\n%s", i, cmp.Diff(texts[i], string(b)))
		}
	}
}

func TestFoldFences(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	s = apply(t, s, &timeline.Claimed{Epoch: 2, Owner: "second"})
	n, err := s.Apply(timeline.Envelope{Epoch: 1, Prev: s.LogSeq, Record: sc.Adopt(4*sec, false)}, s.LogSeq+1)
	if err != nil || len(n.Current().Items) != 0 || n.LogSeq != s.LogSeq+1 {
		t.Errorf("a fenced owner's record: %+v, %v", n, err)
	}
	if _, err := s.Apply(timeline.Envelope{Epoch: 3, Prev: s.LogSeq, Record: &timeline.Ended{}}, s.LogSeq+1); !errors.Is(err, timeline.ErrRecord) {
		t.Errorf("a record of an epoch without a claim: %v", err)
	}
	if _, err := s.Apply(timeline.Envelope{Epoch: 2, Prev: s.LogSeq + 5, Record: &timeline.Ended{}}, s.LogSeq+6); !errors.Is(err, timeline.ErrHole) {
		t.Errorf("a record behind a missing one: %v", err)
	}
	if n, err := s.Apply(timeline.Envelope{Epoch: 2, Prev: 0, Record: &timeline.Ended{}}, 1); err != nil || n != s {
		t.Errorf("a record that is in the state: %v", err)
	}
}

func TestFoldExpires(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	for range 6 {
		s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	}
	ch := func(a, b uint64) *timeline.Closed {
		return &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{Key: "k", FirstSeq: a, LastSeq: b, Duration: sec}}
	}
	s = apply(t, s, ch(1, 2), ch(3, 3), ch(4, 4))
	if b := s.Current(); len(b.Chapters) != 3 || b.Items[0].Seq != 5 {
		t.Fatalf("%+v", b)
	}
	s = apply(t, s, ch(3, 4)) // two merged
	s = apply(t, s, &timeline.Expired{Broadcast: tt.Broadcast, Before: 2})
	if b := s.Current(); len(b.Chapters) != 2 || b.FirstSeq != 2 {
		t.Errorf("%+v", b)
	}
	s = apply(t, s, &timeline.Expired{Broadcast: tt.Broadcast, Before: 5})
	if b := s.Current(); len(b.Chapters) != 0 || len(b.Items) != 2 {
		t.Errorf("%+v", b)
	}
	s = apply(t, s, &timeline.Ended{End: sc.At}, &timeline.Expired{Broadcast: tt.Broadcast, Before: 7})
	if len(s.Broadcasts) != 0 || s.NextSeq != 7 {
		t.Errorf("%+v", s)
	}
}

func TestRenditionOrder(t *testing.T) {
	late := tt.VideoRendition(1)
	late.Name = tt.Entry + "_33"
	s := fold(t, append(tt.NewScript().Open(tt.Broadcast, 0), &timeline.Described{Rendition: late})...)
	var names []string
	for _, r := range s.Current().Renditions {
		names = append(names, r.Name)
	}
	if d := cmp.Diff([]string{tt.Video, tt.Entry + "_33", tt.Audio}, names); d != "" {
		t.Error(d)
	}
}
