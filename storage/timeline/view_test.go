package timeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func (f *fixture) view(change func(*timeline.ViewConfig)) *timeline.View {
	cfg := timeline.ViewConfig{Store: f.store, Log: f.log, Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&cfg)
	}
	v := timeline.NewView(cfg)
	f.t.Cleanup(v.Close)
	return v
}

func (f *fixture) state(v *timeline.View) *timeline.State {
	f.t.Helper()
	s, err := v.State(f.t.Context(), tt.Entry)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// A view stands where the owner stands: from the head, from the log, and from then on.
func TestViewFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sc := tt.NewScript()
		w := f.mustOpen(1)
		f.append(w, sc.Open(tt.Broadcast, 0)...)
		f.save(w)
		f.append(w, sc.Adopt(4*sec, false), sc.Store()) // in the log alone
		v := f.view(nil)
		if d := cmp.Diff(w.State(), f.state(v)); d != "" {
			t.Errorf("at first: %s", d)
		}
		for range 30 {
			time.Sleep(4 * sec)
			f.append(w, sc.Adopt(4*sec, false), sc.Store())
			f.save(w)
			synctest.Wait()
			if d := cmp.Diff(w.State(), f.state(v)); d != "" {
				t.Fatal(d)
			}
		}
		w2 := f.mustOpen(2)
		f.append(w2, &timeline.Ended{End: sc.At})
		synctest.Wait()
		if d := cmp.Diff(w2.State(), f.state(v)); d != "" {
			t.Errorf("after a take-over: %s", d)
		}
		items, err := v.Items(t.Context(), tt.Broadcast, f.state(v).Current().Chapters[0])
		if err != nil || len(items) != 15 || items[0].Seq != 1 {
			t.Errorf("chapter of %d items, %v", len(items), err)
		}
		v.Close()
	})
}

func TestViewUnknownEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var loads atomic.Int32
		f.store.Before = func(context.Context, string, string) error { loads.Add(1); return nil }
		v := f.view(nil)
		for range 10 {
			if _, err := v.State(t.Context(), tt.Entry); !errors.Is(err, timeline.ErrNoTimeline) {
				t.Fatalf("State = %v", err)
			}
			synctest.Wait()
		}
		if loads.Load() != 1 {
			t.Errorf("%d loads within a second", loads.Load())
		}
		f.mustOpen(1)
		time.Sleep(1100 * time.Millisecond)
		if s := f.state(v); s.Epoch != 1 {
			t.Errorf("%+v", s)
		}
		v.Close()
	})
}

// A log that was trimmed or made anew makes a view load the head again.
func TestViewSurvivesTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sc := tt.NewScript()
		f.mustOpen(1)
		v := f.view(nil)
		f.state(v)
		f.log.Wipe()
		w := f.mustOpen(2)
		f.append(w, sc.Open(tt.Broadcast, 0)...)
		f.run(w, sc, 30*sec)
		for range 10 { // somebody keeps watching
			time.Sleep(2 * sec)
			f.state(v)
		}
		if d := cmp.Diff(w.State(), f.state(v)); d != "" {
			t.Errorf("after the log was made anew: %s", d)
		}
		v.Close()
	})
}

// When the bus does not answer, the head is better than nothing.
func TestViewWithoutLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		w := f.mustOpen(1)
		bus := &brokenLog{Log: f.log}
		bus.broken.Store(true)
		v := f.view(func(c *timeline.ViewConfig) { c.Log = bus })
		if s := f.state(v); s.Epoch != 1 {
			t.Errorf("%+v", s)
		}
		f.append(w, &timeline.Started{ID: tt.Broadcast})
		f.save(w)
		time.Sleep(2 * sec)
		if d := cmp.Diff(w.State(), f.state(v)); d != "" {
			t.Errorf("the head's news did not arrive: %s", d)
		}
		f.append(w, &timeline.Ended{End: 1}) // not saved
		bus.broken.Store(false)
		time.Sleep(2 * sec)
		if d := cmp.Diff(w.State(), f.state(v)); d != "" {
			t.Errorf("the log's news did not arrive: %s", d)
		}
		v.Close()
	})
}

type brokenLog struct {
	timeline.Log
	broken atomic.Bool
}

func (l *brokenLog) Last(ctx context.Context, subject string) (uint64, error) {
	if l.broken.Load() {
		return 0, errLost
	}
	return l.Log.Last(ctx, subject)
}

// Entries that nobody asks for are let go; those in use push nobody out.
func TestViewBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, log := storagetest.NewMemory(), tt.NewLog()
		entry := func(i int) string { return fmt.Sprintf("0_aaaaaaa%d", i) }
		for i := range 4 {
			if _, err := timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: store, Log: log, Entry: entry(i), Epoch: 1}); err != nil {
				t.Fatal(err)
			}
		}
		reg := prometheus.NewRegistry()
		v := timeline.NewView(timeline.ViewConfig{Store: store, Log: log, MaxEntries: 2, Idle: 20 * sec, Registerer: reg})
		defer v.Close()
		ask := func(i int, want error) {
			t.Helper()
			if _, err := v.State(t.Context(), entry(i)); !errors.Is(err, want) {
				t.Errorf("entry %d: %v, want %v", i, err, want)
			}
		}
		ask(0, nil)
		ask(1, nil)
		ask(2, timeline.ErrBusy)
		time.Sleep(4 * sec)
		ask(0, nil)
		time.Sleep(2 * sec)
		ask(2, nil) // pushes out entry 1
		ask(1, timeline.ErrBusy)
		time.Sleep(30 * sec)
		synctest.Wait()
		if n := gauge(t, reg, "klive_timeline_view_entries"); n != 0 {
			t.Errorf("%v entries are still followed", n)
		}
		v.Close()
		ask(0, timeline.ErrClosed)
	})
}

// An entry on the air is let go like any other when nobody asks for it.
func TestViewLetsLiveEntriesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sc := tt.NewScript()
		w := f.mustOpen(1)
		f.append(w, sc.Open(tt.Broadcast, 0)...)
		reg := prometheus.NewRegistry()
		v := f.view(func(c *timeline.ViewConfig) { c.Idle, c.Registerer = 20*sec, reg })
		f.state(v)
		for _, want := range []float64{1, 0} {
			for range 4 {
				f.run(w, sc, 4*sec)
				time.Sleep(4 * sec)
			}
			synctest.Wait()
			if n := gauge(t, reg, "klive_timeline_view_entries"); n != want {
				t.Errorf("%v entries are followed, want %v", n, want)
			}
		}
		v.Close()
	})
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	list, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.GetName() == name {
			return m.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// Many readers, writers and closers at once; -race looks on.
func TestViewConcurrency(t *testing.T) {
	f := newFixture(t)
	sc := tt.NewScript()
	w := f.mustOpen(1)
	f.append(w, sc.Open(tt.Broadcast, time.Hour)...)
	f.run(w, sc, 2*time.Minute)
	v := f.view(func(c *timeline.ViewConfig) { c.ChapterItems = 20 })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var last uint64
			for ctx.Err() == nil {
				s, err := v.State(ctx, tt.Entry)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("State: %v", err)
					}
					return
				}
				if s.LogSeq < last {
					t.Errorf("the state went back from %d to %d", last, s.LogSeq)
				}
				last = s.LogSeq
				b := s.Current()
				for _, c := range b.Chapters {
					if items, err := v.Items(ctx, b.ID, c); ctx.Err() == nil && (err != nil || items[0].Seq != c.FirstSeq) {
						t.Errorf("chapter %d: %v", c.FirstSeq, err)
					}
				}
				time.Sleep(time.Millisecond) // readers without a pause leave the writer no processor
			}
		})
	}
	f.run(w, sc, 20*time.Minute)
	cancel()
	wg.Wait()
}
