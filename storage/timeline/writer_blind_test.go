package timeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/check"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

var errStoreAway = errors.New("503")

// leave takes the store away for the operations named, or for all.
func (f *fixture) leave(ops ...string) {
	f.store.Before = func(_ context.Context, op, _ string) error {
		for _, o := range ops {
			if o == op {
				return errStoreAway
			}
		}
		if len(ops) == 0 {
			return errStoreAway
		}
		return nil
	}
}

func (f *fixture) back() { f.store.Before = nil }

// An owner begins while the store is away, from what the log says, and the head follows.
func TestOpenWhileAway(t *testing.T) {
	for name, ops := range map[string][]string{"wholly": nil, "for writes": {"put"}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			sc := tt.NewScript()
			a := f.mustOpen(1)
			f.append(a, sc.Open(tt.Broadcast, 0)...)
			f.append(a, sc.Adopt(4*sec, true), sc.Store())
			f.save(a)
			f.append(a, sc.Adopt(4*sec, false), sc.Store())
			f.leave(ops...)
			b := f.mustOpen(2)
			if got := b.State(); got.Epoch != 2 || got.NextSeq != a.State().NextSeq || !cmp.Equal(got.Broadcasts, a.State().Broadcasts) {
				t.Errorf("it begins with %+v", got)
			}
			f.append(b, sc.Adopt(4*sec, false), sc.Store())
			if _, err := a.Append(t.Context(), &timeline.Ended{End: sc.At}); !errors.Is(err, timeline.ErrFenced) {
				t.Errorf("the owner before it goes on: %v", err)
			}
			if err := b.Save(t.Context()); !errors.Is(err, errStoreAway) {
				t.Errorf("Save = %v", err)
			}
			c := f.mustOpen(3) // and another, from what the second has written
			f.back()
			f.save(c)
			if d := cmp.Diff(c.State(), f.head()); d != "" {
				t.Error(d)
			}
			for _, w := range []*timeline.Writer{a, b} {
				if err := w.Save(t.Context()); !errors.Is(err, timeline.ErrFenced) {
					t.Errorf("Save of an owner before = %v", err)
				}
			}
			f.append(c, sc.Adopt(4*sec, false), sc.Store())
			f.save(c)
		})
	}
}

// What the log does not hold whole is left alone while the store is away.
func TestOpenWhileAwayWithoutRecords(t *testing.T) {
	f := newFixture(t)
	f.leave()
	if _, err := f.open(1); !errors.Is(err, errStoreAway) {
		t.Errorf("an entry that the log does not know: %v", err)
	}
	f.back()
	w := f.mustOpen(1)
	f.append(w, &timeline.Started{ID: tt.Broadcast})
	f.save(w)
	f.log.Trim(w.State().LogSeq - 1)
	f.leave()
	n := f.log.Count()
	if _, err := f.open(2); !errors.Is(err, errStoreAway) {
		t.Errorf("an entry of which the log has lost the beginning: %v", err)
	}
	if f.log.Count() != n {
		t.Error("a claim was written")
	}
}

// A head that the log does not explain ends an owner that began without it.
func TestOpenWhileAwayBehindTheHead(t *testing.T) {
	for name, c := range map[string]struct{ epoch, items int }{
		"of a later epoch": {epoch: 3, items: 1},
		"of more records":  {epoch: 1, items: 20},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			g := &fixture{t, f.store, tt.NewLog()} // the log as it was before it lost records
			sc := tt.NewScript()
			w := g.mustOpen(uint64(c.epoch))
			g.append(w, sc.Open(tt.Broadcast, 0)...)
			for range c.items {
				g.append(w, sc.Adopt(4*sec, false), sc.Store())
			}
			g.save(w)
			h := f.head()

			f.leave()
			early := fmt.Sprint("early", c.epoch)
			if _, err := f.log.Append(t.Context(), timeline.Subject(tt.Entry), early, claimOf(t, 1), 0); err != nil {
				t.Fatal(err)
			}
			b := f.mustOpen(2)
			f.append(b, &timeline.Started{ID: "another-broadcast"})
			f.back()
			for range 2 {
				if err := b.Save(t.Context()); !errors.Is(err, timeline.ErrFenced) {
					t.Errorf("Save = %v", err)
				}
			}
			if _, err := b.Append(t.Context(), &timeline.Ended{}); !errors.Is(err, timeline.ErrFenced) {
				t.Errorf("Append = %v", err)
			}
			if d := cmp.Diff(h, f.head()); d != "" {
				t.Errorf("the head was changed: %s", d)
			}
			if next := f.mustOpen(4).State(); next.NextSeq < h.NextSeq {
				t.Errorf("numbers go back from %d to %d", h.NextSeq, next.NextSeq)
			}
		})
	}
}

func claimOf(t *testing.T, epoch uint64) []byte {
	t.Helper()
	b, err := timeline.Envelope{Epoch: epoch, ID: "early", Record: &timeline.Claimed{Epoch: epoch, Owner: "early"}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A head that nobody would read is not written.
func TestHeadTooLarge(t *testing.T) {
	check.Calculation(t)
	f := newFixture(t)
	sc := tt.NewScript()
	w := f.mustOpen(1)
	f.append(w, sc.Open(tt.Broadcast, 0)...)
	for i := range 60 {
		r := tt.VideoRendition(1)
		r.Name = fmt.Sprint(tt.Entry, "_", 1000+i)
		sc.Renditions = append(sc.Renditions, r.Name)
		f.append(w, &timeline.Described{Rendition: r})
	}
	f.save(w)
	for i := 0; ; i++ {
		f.append(w, sc.Adopt(4*sec, false))
		if i%20 != 0 {
			continue
		}
		err := w.Save(t.Context())
		if errors.Is(err, timeline.ErrHeadSize) {
			break
		}
		if err != nil || i > 2000 {
			t.Fatalf("after %d items: %v", i, err)
		}
	}
	if h := f.head(); len(h.Current().Items) < 100 {
		t.Errorf("the head has %d items", len(h.Current().Items))
	}
}
