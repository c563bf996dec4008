package timeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"klive/infra/check"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errLost is an answer that did not come.
var errLost = errors.New("the answer was lost")

type fixture struct {
	t     *testing.T
	store *storagetest.Memory
	log   *tt.Log
}

func newFixture(t *testing.T) *fixture {
	return &fixture{t, storagetest.NewMemory(), tt.NewLog()}
}

func (f *fixture) open(epoch uint64) (*timeline.Writer, error) {
	return timeline.OpenWriter(f.t.Context(), timeline.WriterConfig{
		Store: f.store, Log: f.log, Entry: tt.Entry, Epoch: epoch, Owner: fmt.Sprint("owner", epoch), Keep: 5, Chapter: 60 * sec,
	})
}

func (f *fixture) mustOpen(epoch uint64) *timeline.Writer {
	f.t.Helper()
	w, err := f.open(epoch)
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

func (f *fixture) append(w *timeline.Writer, records ...timeline.Record) {
	f.t.Helper()
	for _, r := range records {
		if _, err := w.Append(f.t.Context(), r); err != nil {
			f.t.Fatalf("%T: %v", r, err)
		}
	}
}

func (f *fixture) save(w *timeline.Writer) {
	f.t.Helper()
	if err := w.Save(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) head() *timeline.State {
	f.t.Helper()
	s, err := timeline.LoadHead(f.t.Context(), f.store, tt.Entry)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// The next owner stands where the last one stood, whether that saved or not.
func TestTakeOver(t *testing.T) {
	f := newFixture(t)
	sc := tt.NewScript()
	a := f.mustOpen(1)
	f.append(a, sc.Open(tt.Broadcast, 0)...)
	f.append(a, sc.Adopt(4*sec, true), sc.Store())
	f.save(a)
	f.append(a, sc.Adopt(4*sec, false), sc.Store())

	b := f.mustOpen(2)
	want := *a.State()
	got := *b.State()
	if got.Epoch != 2 || got.Owner != "owner2" {
		t.Errorf("epoch %d of %s", got.Epoch, got.Owner)
	}
	got.Epoch, got.Owner, got.LogSeq = want.Epoch, want.Owner, want.LogSeq
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(b.State(), f.head()); d != "" {
		t.Errorf("the claim did not save the head: %s", d)
	}

	// The first owner is out, in the log and in the store.
	before := f.log.Count()
	if _, err := a.Append(t.Context(), sc.Adopt(4*sec, false)); !errors.Is(err, timeline.ErrFenced) {
		t.Errorf("Append of the fenced owner = %v", err)
	}
	if err := a.Save(t.Context()); !errors.Is(err, timeline.ErrFenced) {
		t.Errorf("Save of the fenced owner = %v", err)
	}
	if f.log.Count() != before {
		t.Error("the fenced owner wrote into the log")
	}
	if d := cmp.Diff(b.State(), f.head()); d != "" {
		t.Errorf("the fenced owner changed the head: %s", d)
	}
	if _, err := f.open(1); !errors.Is(err, timeline.ErrFenced) {
		t.Errorf("opening with an old epoch = %v", err)
	}
}

// A fenced owner that only saves learns it from the head's condition.
func TestFencedBySave(t *testing.T) {
	f := newFixture(t)
	a := f.mustOpen(1)
	f.mustOpen(2)
	if err := a.Save(t.Context()); !errors.Is(err, timeline.ErrFenced) {
		t.Errorf("Save = %v, want ErrFenced", err)
	}
	if f.head().Epoch != 2 {
		t.Error("the head is the fenced owner's")
	}
}

// Of owners that claim at once, in any order, the one with the highest epoch is left.
func TestClaimRace(t *testing.T) {
	for range 20 {
		f := newFixture(t)
		var wg sync.WaitGroup
		writers := make([]*timeline.Writer, 5)
		for i := range writers {
			wg.Go(func() {
				w, err := f.open(uint64(i + 1))
				if err != nil && !errors.Is(err, timeline.ErrFenced) {
					t.Errorf("epoch %d: %v", i+1, err)
				}
				writers[i] = w
			})
		}
		wg.Wait()
		if writers[4] == nil || f.head().Epoch != 5 {
			t.Fatalf("the highest epoch did not win: head has %d", f.head().Epoch)
		}
		for i, w := range writers[:4] {
			if w == nil {
				continue
			}
			if _, err := w.Append(t.Context(), &timeline.Started{ID: tt.Broadcast}); !errors.Is(err, timeline.ErrFenced) {
				t.Errorf("epoch %d can still append: %v", i+1, err)
			}
		}
	}
}

// A head write whose answer was lost is found again by its id.
func TestLostSaveAnswer(t *testing.T) {
	f := newFixture(t)
	w := f.mustOpen(1)
	lose := true
	f.store.After = func(context.Context, string, string) error {
		if lose {
			return errLost
		}
		return nil
	}
	if err := w.Save(t.Context()); !errors.Is(err, errLost) {
		t.Fatalf("Save = %v", err)
	}
	lose = false
	f.append(w, &timeline.Started{ID: tt.Broadcast})
	f.save(w)
	if d := cmp.Diff(w.State(), f.head()); d != "" {
		t.Error(d)
	}
}

// A record whose answer was lost is written once, however the caller goes on.
func TestLostAppendAnswer(t *testing.T) {
	for _, same := range []bool{true, false} {
		for _, stored := range []bool{true, false} {
			t.Run(fmt.Sprintf("same=%v stored=%v", same, stored), func(t *testing.T) {
				f := newFixture(t)
				sc := tt.NewScript()
				w := f.mustOpen(1)
				f.append(w, sc.Open(tt.Broadcast, 0)...)
				fail := func(context.Context, string, []byte) error { return errLost }
				if stored {
					f.log.After = fail
				} else {
					f.log.Before = fail
				}
				adopt := sc.Adopt(4*sec, false)
				if _, err := w.Append(t.Context(), adopt); !errors.Is(err, errLost) {
					t.Fatalf("Append = %v", err)
				}
				f.log.After, f.log.Before = nil, nil
				if same {
					f.append(w, adopt)
				}
				f.append(w, sc.Store())
				if items := w.State().Current().Items; len(items) != 1 || !items[0].Settled() {
					t.Errorf("items %+v", items)
				}
				// The log holds what the writer holds.
				if d := cmp.Diff(w.State().Broadcasts, f.mustOpen(2).State().Broadcasts); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestRefusedRecordIsNotWritten(t *testing.T) {
	f := newFixture(t)
	w := f.mustOpen(1)
	n := f.log.Count()
	if _, err := w.Append(t.Context(), &timeline.Ended{}); !errors.Is(err, timeline.ErrRecord) {
		t.Errorf("Append = %v", err)
	}
	f.append(w, &timeline.Started{ID: tt.Broadcast})
	if f.log.Count() != n+1 {
		t.Errorf("%d records", f.log.Count()-n)
	}
}

// A log that keeps nothing, or that begins anew, holds nobody up.
func TestLogLosesRecords(t *testing.T) {
	t.Run("trimmed behind the head", func(t *testing.T) {
		f := newFixture(t)
		w := f.mustOpen(1)
		f.append(w, &timeline.Started{ID: tt.Broadcast})
		f.save(w)
		f.log.Trim(100)
		f.append(w, &timeline.Ended{End: 1})
		f.log.Trim(1 + w.State().LogSeq)
		if w2 := f.mustOpen(2); w2.State().Epoch != 2 {
			t.Error("no claim")
		}
	})
	t.Run("wiped", func(t *testing.T) {
		f := newFixture(t)
		w := f.mustOpen(1)
		f.append(w, &timeline.Started{ID: tt.Broadcast})
		f.save(w)
		f.log.Wipe()
		w = f.mustOpen(2)
		f.append(w, &timeline.Ended{End: 1})
		if !f.mustOpen(3).State().Current().Ended {
			t.Error("a record of the new log is missing")
		}
	})
	t.Run("trimmed before the head", func(t *testing.T) {
		f := newFixture(t)
		sc := tt.NewScript()
		w := f.mustOpen(1)
		f.append(w, sc.Open(tt.Broadcast, 0)...)
		f.save(w)
		f.append(w, sc.Adopt(4*sec, false), sc.Store(), sc.Adopt(4*sec, false))
		f.log.Trim(w.State().LogSeq - 1)
		w2 := f.mustOpen(2)
		f.append(w2, &timeline.Described{Rendition: tt.VideoRendition(1)})
		sc2 := *sc
		adopt := sc2.Adopt(4*sec, false)
		adopt.Item.Seq = 0
		f.append(w2, adopt)
		if it := w2.State().Current().Items[0]; it.Seq <= w.State().NextSeq || it.DiscontinuitySeq < w.State().NextDiscontinuity {
			t.Errorf("numbers given again: %+v", it)
		}
	})
}

// run adopts and stores items for a length of media, saving after each.
func (f *fixture) run(w *timeline.Writer, sc *tt.Script, length time.Duration) {
	f.t.Helper()
	for end := sc.At.Add(length); sc.At < end; {
		f.append(w, sc.Adopt(4*sec, false), sc.Store())
		f.save(w)
	}
}

// The head must not grow with the window, and every item must be found once.
func TestChapters(t *testing.T) {
	check.Calculation(t)
	f := newFixture(t)
	var size, largest, puts int
	f.store.Before = func(_ context.Context, op, key string) error {
		if op == "put" {
			puts++
		}
		return nil
	}
	sc := tt.NewScript()
	w := f.mustOpen(1)
	f.append(w, sc.Open(tt.Broadcast, 4*time.Hour)...)
	for hour := range 4 {
		f.run(w, sc, time.Hour)
		_, info, err := f.store.Get(t.Context(), timeline.HeadKey(tt.Entry), nil)
		if err != nil {
			t.Fatal(err)
		}
		size = int(info.Size)
		largest = max(largest, size)
		b := w.State().Current()
		t.Logf("after %d h: head of %d bytes, %d chapters, %d open items", hour+1, size, len(b.Chapters), len(b.Items))
	}
	if largest > 32<<10 {
		t.Errorf("the head has %d bytes", largest)
	}
	// One head a segment, and a chapter a minute with the merged ones.
	if limit := 3600 + 240 + 8 + 1; puts > limit {
		t.Errorf("%d puts, want at most %d", puts, limit)
	}
	b := w.State().Current()
	var seqs []uint64
	for _, c := range b.Chapters {
		items, err := timeline.LoadChapter(t.Context(), f.store, b.ID, c)
		if err != nil {
			t.Fatal(err)
		}
		var length time.Duration
		for _, it := range items {
			seqs = append(seqs, it.Seq)
			length += it.Duration
		}
		if length != c.Duration || items[0].Start != c.Start {
			t.Errorf("chapter %+v holds %v from %v", c, length, items[0].Start)
		}
	}
	for _, it := range b.Items {
		seqs = append(seqs, it.Seq)
	}
	if len(seqs) != 3600 {
		t.Fatalf("%d items, want 3600", len(seqs))
	}
	for i, s := range seqs {
		if s != uint64(i+1) {
			t.Fatalf("item %d has number %d", i, s)
		}
	}
}

func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sc := tt.NewScript()
		w := f.mustOpen(1)
		f.append(w, sc.Open(tt.Broadcast, time.Hour)...)
		f.run(w, sc, time.Hour)
		dropped, err := w.Expire(t.Context(), tt.Start.Add(2500*sec)) // 625 items, in a merged chapter and some behind it
		if err != nil {
			t.Fatal(err)
		}
		if len(dropped) != 1 || len(dropped[0].Items) != 625 || dropped[0].Whole || dropped[0].Items[624].Seq != 625 {
			t.Fatalf("dropped %d", len(dropped[0].Items))
		}
		if b := w.State().Current(); b.FirstSeq != 626 || b.Chapters[0].LastSeq < 626 {
			t.Errorf("first %d, chapters from %+v", b.FirstSeq, b.Chapters[0])
		}
		if d := cmp.Diff(w.State(), f.head()); d != "" {
			t.Error(d)
		}
		if again, err := w.Expire(t.Context(), tt.Start.Add(2500*sec)); err != nil || len(again) != 0 {
			t.Errorf("a second time: %v, %v", again, err)
		}
		// Everything can't go while the broadcast is open; after it, nothing stays.
		if _, err := w.Expire(t.Context(), sc.At.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n := len(w.State().Current().Items); n < 5 {
			t.Errorf("the live window lost items: %d are left", n)
		}
		f.append(w, &timeline.Ended{End: sc.At})
		dropped, err = w.Expire(t.Context(), sc.At)
		if err != nil || len(dropped) != 1 || !dropped[0].Whole || len(w.State().Broadcasts) != 0 {
			t.Errorf("dropped %+v, %v, left %+v", dropped, err, w.State())
		}
		if list, err := f.store.List(t.Context(), "state/", "", 100); err != nil || len(list) != 1 {
			t.Errorf("left in the store: %v, %v", list, err)
		}
	})
}

// While the store is down, records go on; when it is back, one save makes it good.
func TestStoreDown(t *testing.T) {
	f := newFixture(t)
	sc := tt.NewScript()
	w := f.mustOpen(1)
	f.append(w, sc.Open(tt.Broadcast, time.Hour)...)
	down := errors.New("503")
	f.store.Before = func(context.Context, string, string) error { return down }
	for range 40 {
		f.append(w, sc.Adopt(4*sec, false), sc.Store())
		if err := w.Save(t.Context()); !errors.Is(err, down) {
			t.Fatalf("Save = %v", err)
		}
	}
	f.store.Before = nil
	f.save(w)
	if d := cmp.Diff(w.State(), f.head()); d != "" {
		t.Error(d)
	}
	if n := len(w.State().Current().Chapters); n != 2 {
		t.Errorf("%d chapters", n)
	}
}

func TestDamagedHead(t *testing.T) {
	for text, want := range map[string]error{
		``: timeline.ErrDamaged, `{`: timeline.ErrDamaged, `{"v":9}`: timeline.ErrVersion, `{"v":1}`: timeline.ErrDamaged,
		`{"v":1,"state":{"entry":"other"}}`: timeline.ErrDamaged,
	} {
		f := newFixture(t)
		if _, err := f.store.Put(t.Context(), timeline.HeadKey(tt.Entry), [][]byte{[]byte(text)}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.open(1); !errors.Is(err, want) {
			t.Errorf("head %s: %v", text, err)
		}
		if b, _, err := f.store.Get(t.Context(), timeline.HeadKey(tt.Entry), nil); err != nil {
			t.Error(err)
		} else if got, _ := io.ReadAll(b); string(got) != text {
			t.Errorf("head %s was overwritten: %s", text, got)
		}
		if f.log.Count() != 0 {
			t.Errorf("head %s: a claim was written", text)
		}
	}
}
