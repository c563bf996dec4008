package timeline_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"klive/storage"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// TestFoldHeld holds what becomes of held media, and that they count once.
func TestFoldHeld(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, append(sc.Open(tt.Broadcast, 0), sc.Adopt(4*sec, false), sc.Hold())...)
	it := &s.Current().Items[0]
	if m := it.Of(tt.Video); !m.Held || m.Stored || it.Settled() || m.Settled() {
		t.Errorf("held: %+v", it)
	}
	held := *s.Current().Rendition(tt.Video)
	if held.Bytes != 4*sc.Rate || held.Duration != 4*sec || held.Peak == 0 {
		t.Errorf("held media don't count: %+v", held)
	}
	again := apply(t, s, sc.Hold())
	if d := cmp.Diff(s, again, cmpopts.IgnoreFields(timeline.State{}, "LogSeq")); d != "" {
		t.Errorf("held twice: %s", d)
	}
	done := apply(t, again, sc.Store(tt.Video), sc.Gap(tt.Audio))
	it = &done.Current().Items[0]
	if v, a := it.Of(tt.Video), it.Of(tt.Audio); !v.Stored || v.Held || !a.Gap || a.Held || !it.Settled() {
		t.Errorf("settled: %+v", it)
	}
	if d := cmp.Diff(held, *done.Current().Rendition(tt.Video)); d != "" {
		t.Errorf("stored media count again: %s", d)
	}
	after := apply(t, done, sc.Hold(), sc.Store(), sc.Gap())
	if d := cmp.Diff(done, after, cmpopts.IgnoreFields(timeline.State{}, "LogSeq")); d != "" {
		t.Errorf("settled media changed: %s", d)
	}
}

func TestFoldRefusesHeldAndMore(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, append(sc.Open(tt.Broadcast, 0), sc.Adopt(4*sec, false))...)
	for name, change := range map[string]func(*timeline.Media){
		"stored too":           func(m *timeline.Media) { m.Stored = true },
		"a gap too":            func(m *timeline.Media) { m.Gap = true },
		"of less than no size": func(m *timeline.Media) { m.Size = -1 },
		"without init":         func(m *timeline.Media) { m.Init = 9 },
		"not held":             func(m *timeline.Media) { m.Held = false },
	} {
		r := sc.Hold(tt.Video)
		change(&r.Media[0])
		if _, err := tt.Apply(s, r); !errors.Is(err, timeline.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeldStayOpen holds that held items don't go into a chapter, and do once stored.
func TestHeldStayOpen(t *testing.T) {
	f := newFixture(t)
	w := f.mustOpen(1)
	sc := tt.NewScript()
	f.append(w, sc.Open(tt.Broadcast, 0)...)
	var later []timeline.Record
	for range 40 {
		f.append(w, sc.Adopt(4*sec, false), sc.Hold())
		later = append(later, sc.Store())
	}
	f.save(w)
	if b := w.State().Current(); len(b.Items) != 40 {
		t.Errorf("%d items are open, want 40", len(b.Items))
	}
	f.append(w, later...)
	f.save(w)
	if b := w.State().Current(); len(b.Chapters) == 0 || len(b.Items) > 20 {
		t.Errorf("%d chapters, %d open items", len(b.Chapters), len(b.Items))
	}
}

// TestSettleInAnyOrder holds that whatever is said of media, in whatever order and how often,
// ends in one of two ways and counts once.
func TestSettleInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		sc := tt.NewScript()
		s, err := tt.Fold(append(sc.Open(tt.Broadcast, 0), sc.Adopt(4*sec, false))...)
		if err != nil {
			r.Fatal(err)
		}
		var first *timeline.Media // that settled it
		for range rapid.IntRange(1, 8).Draw(r, "records") {
			rec := rapid.SampledFrom([]*timeline.Stored{sc.Hold(), sc.Store(), sc.Gap()}).Draw(r, "record")
			if s, err = tt.Apply(s, rec); err != nil {
				r.Fatal(err)
			}
			if first == nil && !rec.Media[0].Held {
				first = &rec.Media[0]
			}
			m := s.Current().Items[0].Media[0]
			d := s.Current().Rendition(m.Rendition)
			if first != nil && m != *first {
				r.Fatalf("%+v, settled as %+v", m, *first)
			}
			if first == nil && !m.Held {
				r.Fatalf("%+v", m)
			}
			if d.Bytes != 0 && d.Bytes != 4*sc.Rate {
				r.Fatalf("%d bytes were counted", d.Bytes)
			}
		}
	})
}

// TestAppendAfterAnother holds that a record whose answer was lost is not written again when
// another call has settled it in the meantime.
func TestAppendAfterAnother(t *testing.T) {
	f := newFixture(t)
	w := f.mustOpen(1)
	sc := tt.NewScript()
	f.append(w, sc.Open(tt.Broadcast, 0)...)
	adopt := sc.Adopt(4*sec, false)
	f.log.After = func(context.Context, string, []byte) error { return errLost }
	if _, err := w.Append(t.Context(), adopt); !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	f.log.After = nil
	f.append(w, sc.Store(), adopt)
	if n := len(w.State().Current().Items); n != 1 {
		t.Errorf("%d items, want 1", n)
	}
	n := f.log.Count()
	f.append(w, sc.Adopt(4*sec, false))
	if f.log.Count() != n+1 {
		t.Error("the next record was not written")
	}
}

// TestDamagedChapter holds that a chapter that can't be read stops neither the head nor what
// comes after, and is not overwritten.
func TestDamagedChapter(t *testing.T) {
	f := newFixture(t)
	w := f.mustOpen(1)
	sc := tt.NewScript()
	f.append(w, sc.Open(tt.Broadcast, 0)...)
	grow := func(n int) {
		for range n {
			f.append(w, sc.Adopt(4*sec, false), sc.Store())
		}
		f.save(w)
	}
	grow(60)
	hurt := w.State().Current().Chapters[0]
	if _, err := f.store.Put(t.Context(), hurt.Key, [][]byte{[]byte(`{"v":1,"broadc`)}, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := timeline.LoadChapter(t.Context(), f.store, tt.Broadcast, hurt); !errors.Is(err, timeline.ErrDamaged) {
		t.Errorf("LoadChapter: %v", err)
	}
	grow(15 * 40) // enough to merge
	if d := cmp.Diff(w.State(), f.head()); d != "" {
		t.Errorf("the head is not the state: %s", d)
	}
	if n := len(w.State().Current().Chapters); n < 32 {
		t.Errorf("%d chapters", n)
	}
	dropped, err := w.Expire(t.Context(), hurt.Start.Add(2*hurt.Duration))
	if err != nil || len(dropped) != 1 || len(dropped[0].Items) == 0 {
		t.Fatalf("Expire: %v, %v", dropped, err)
	}
	if b := w.State().Current(); b.Chapters[0].Key == hurt.Key || b.FirstSeq <= hurt.LastSeq {
		t.Errorf("the chapter has not expired: first item %d", b.FirstSeq)
	}
}
