package timeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/storage"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func hang(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// A reader has what the owner has, saved or not.
func TestLoad(t *testing.T) {
	f := newFixture(t)
	load := func() (*timeline.State, error) { return timeline.Load(t.Context(), f.store, f.log, tt.Entry) }
	if _, err := load(); !errors.Is(err, timeline.ErrNoTimeline) {
		t.Errorf("nothing: %v", err)
	}
	w := f.mustOpen(1)
	sc := tt.NewScript()
	f.append(w, sc.Open(tt.Broadcast, 0)...)
	f.run(w, sc, 5*time.Minute)
	f.append(w, sc.Adopt(4*sec, false))
	same := func(what string) {
		t.Helper()
		before := f.log.Count()
		s, err := load()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(w.State(), s); d != "" || f.log.Count() != before {
			t.Errorf("%s: %s", what, d)
		}
	}
	same("head and log")
	head := f.head()
	if err := f.store.Delete(t.Context(), timeline.HeadKey(tt.Entry)); err != nil {
		t.Fatal(err)
	}
	same("the log alone")
	f.save(w)
	f.log.Trim(head.LogSeq)
	same("a log that begins behind the head")
	if err := f.store.Delete(t.Context(), timeline.HeadKey(tt.Entry)); err != nil {
		t.Fatal(err)
	}
	if _, err := load(); !errors.Is(err, timeline.ErrNoTimeline) || !errors.Is(err, timeline.ErrHole) {
		t.Errorf("neither head nor the log's beginning: %v", err)
	}
}

// A view that follows an entry does not need the store for what comes next.
func TestViewWhileTheStoreIsAway(t *testing.T) {
	for name, fault := range map[string]func(context.Context, string, string) error{
		"fails": func(context.Context, string, string) error { return errors.New("503") }, "hangs": hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				sc := tt.NewScript()
				w := f.mustOpen(1)
				f.append(w, sc.Open(tt.Broadcast, 0)...)
				known := f.view(nil)
				f.state(known)
				f.store.Before = fault
				for range 15 {
					f.append(w, sc.Adopt(4*sec, false), sc.Store())
					synctest.Wait()
					if d := cmp.Diff(w.State(), f.state(known)); d != "" {
						t.Fatal(d)
					}
					time.Sleep(4 * sec)
				}
				// The entry began within what the log holds, so a new reader needs no head.
				began := time.Now()
				fresh := f.view(nil)
				if d := cmp.Diff(w.State(), f.state(fresh)); d != "" {
					t.Error(d)
				}
				if took := time.Since(began); took > 3*sec {
					t.Errorf("the first reader waited %v", took)
				}
				f.append(w, sc.Adopt(4*sec, false))
				synctest.Wait()
				if d := cmp.Diff(w.State(), f.state(fresh)); d != "" {
					t.Error(d)
				}
				f.log.Trim(3)
				late := f.view(nil)
				if _, err := late.State(t.Context(), tt.Entry); err == nil || errors.Is(err, timeline.ErrNoTimeline) {
					t.Errorf("without head and beginning: %v; want an error that is no \"not found\"", err)
				}
				// What was never on the air can't be told from what is not known.
				if _, err := late.State(t.Context(), "0_another1"); err == nil || errors.Is(err, timeline.ErrNoTimeline) {
					t.Errorf("another entry: %v", err)
				}
				f.store.Before = nil
				if d := cmp.Diff(w.State().Broadcasts, f.state(known).Broadcasts); d != "" {
					t.Error(d)
				}
				for _, v := range []*timeline.View{known, fresh, late} {
					v.Close()
				}
			})
		})
	}
}

// The log stands in for a head that can't be reached, never for one that is damaged.
func TestViewDamagedHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.mustOpen(1)
		if _, err := f.store.Put(t.Context(), timeline.HeadKey(tt.Entry), [][]byte{[]byte("{")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		v := f.view(nil)
		if _, err := v.State(t.Context(), tt.Entry); !errors.Is(err, timeline.ErrDamaged) {
			t.Errorf("State = %v, want ErrDamaged", err)
		}
		v.Close()
	})
}
