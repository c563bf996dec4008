package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/storagetest"
)

const entry = "0_rkij47dr"

var errLost = errors.New("the answer was lost")

// file is a file of one item.
func file(asset string, seq uint64) ledger.File {
	return ledger.File{Asset: asset, Partner: 102, Broadcast: "broadcast1", Rendition: entry + "_0",
		FirstSeq: seq, LastSeq: seq, Start: media.Time(seq) * 1e9, Duration: time.Second}
}

// next is the item that no file of an asset holds yet.
func next(l *ledger.Ledger, asset string) uint64 {
	var n uint64
	for i := range l.Files {
		if l.Files[i].Asset == asset {
			n = l.Files[i].LastSeq
		}
	}
	return n + 1
}

// TestLedgerSurvivesLostAnswers lets two recorders that each believe in themselves plan and
// settle files over a store that loses writes and answers. Whatever dies on the way, the files
// of a series hold each item once and in order under numbers without a hole.
func TestLedgerSurvivesLostAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := storagetest.NewMemory()
		fail := 0 // 1: the next put is lost, 2: its answer is
		mem.Before = func(_ context.Context, op, _ string) error {
			if op == "put" && fail == 1 {
				fail = 0
				return errLost
			}
			return nil
		}
		mem.After = func(context.Context, string, string) error {
			if fail == 2 {
				fail = 0
				return errLost
			}
			return nil
		}
		ctx := context.Background()
		books := [2]*ledger.Book{}
		latest := -1 // who claimed last
		t.Repeat(map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "who")
				fail = rapid.IntRange(0, 2).Draw(t, "fail")
				b, err := ledger.Open(ctx, mem, entry, fmt.Sprint("worker", i))
				fail = 0
				if err == nil {
					books[i], latest = b, i
				} else if !errors.Is(err, errLost) {
					t.Fatal(err)
				} else {
					// The claim may have been stored: then everybody is fenced.
					latest = -1
				}
			},
			"plan": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "who")
				if books[i] == nil {
					return
				}
				asset := rapid.SampledFrom([]string{"0_asset001", "0_asset002"}).Draw(t, "asset")
				fail = rapid.IntRange(0, 2).Draw(t, "fail")
				err := books[i].Change(ctx, func(l *ledger.Ledger) error {
					l.Plan(file(asset, next(l, asset)), time.Unix(1, 0))
					return nil
				})
				fail = 0
				if err == nil && i != latest && latest >= 0 {
					t.Fatalf("worker %d wrote although %d had claimed", i, latest)
				}
				if err != nil && i == latest && !errors.Is(err, errLost) {
					t.Fatalf("the owner: %v", err)
				}
			},
			"settle": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "who")
				if books[i] == nil || books[i].Refresh(ctx) != nil {
					return
				}
				_ = books[i].Change(ctx, func(l *ledger.Ledger) error {
					if f := l.Due("0_asset001.0"); f != nil {
						f.Size, f.State = 1, ledger.Confirmed
					}
					return nil
				})
			},
			"": func(t *rapid.T) { inOrder(t, mem) },
		})
	})
}

// inOrder holds what is stored: numbers without a hole, each item once, settled in order.
func inOrder(t *rapid.T, mem *storagetest.Memory) {
	l, err := ledger.Load(context.Background(), mem, entry)
	if errors.Is(err, ledger.ErrNone) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	waits := map[string]bool{}
	for i := range l.Files {
		f := &l.Files[i]
		if f.N != count[f.Asset] || f.FirstSeq != uint64(f.N+1) {
			t.Fatalf("file %s holds item %d as number %d", f.ID(), f.FirstSeq, count[f.Asset])
		}
		count[f.Asset]++
		if f.Settled() && waits[f.Asset] {
			t.Fatalf("file %s was settled before one in front of it", f.ID())
		}
		waits[f.Asset] = !f.Settled()
	}
}

func TestNumbersOutliveTheirFiles(t *testing.T) {
	ctx, mem := t.Context(), storagetest.NewMemory()
	b, err := ledger.Open(ctx, mem, entry, "worker")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		err := b.Change(ctx, func(l *ledger.Ledger) error {
			f := l.Plan(file("0_asset001", uint64(n+1)), time.Unix(1, 0))
			if f.N != n || f.Key(entry) != fmt.Sprintf("recordings/%s.0_asset001.0_%d.mp4", entry, n) {
				t.Errorf("file %d is %s", n, f.Key(entry))
			}
			f.State, f.Size = ledger.Confirmed, 1
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Change(ctx, func(l *ledger.Ledger) error { l.Forget(fmt.Sprintf("0_asset001.0_%d", n)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if l := b.Ledger(); len(l.Files) != 0 || l.Next["0_asset001.0"] != 3 || l.Unfinished() {
		t.Errorf("%+v", l)
	}
}

func TestFloorIsTheFirstMediaThatIsNeeded(t *testing.T) {
	starts := func(_ string, seq uint64) (media.Time, bool) { return media.Time(max(seq, 1)) * 1e9, true }
	l := &ledger.Ledger{Entry: entry}
	if _, ok := l.Floor(starts); ok {
		t.Error("an empty ledger needs media")
	}
	l.Sessions = []ledger.Session{{Broadcast: "broadcast1"}}
	if at, ok := l.Floor(starts); !ok || at != 1e9 {
		t.Errorf("a session without tracks: %v, %v", at, ok)
	}
	l.Sessions[0].Tracks = []ledger.Track{{Asset: "0_asset001", NextSeq: 9}, {Asset: "0_asset002", NextSeq: 7, Closed: true}, {NextSeq: 1}}
	if at, _ := l.Floor(starts); at != 9e9 {
		t.Errorf("the next item: %v", at)
	}
	f := l.Plan(file("0_asset001", 5), time.Unix(1, 0))
	if at, _ := l.Floor(starts); at != 5e9 {
		t.Errorf("a planned file: %v", at)
	}
	f.State, f.Size = ledger.Parked, 10
	if at, _ := l.Floor(starts); at != 9e9 || !l.Unfinished() {
		t.Errorf("a parked file with its MP4: %v", at)
	}
	l.Sessions[0].Stopped = "the recording is full"
	if _, ok := l.Floor(starts); ok {
		t.Error("a stopped session needs media")
	}
}

// TestLedgerEditedByHand holds that what contradicts itself is named and never overwritten,
// and that an edit that makes sense is taken over by a running recorder.
func TestLedgerEditedByHand(t *testing.T) {
	ctx := t.Context()
	whole := func(t *testing.T) (*storagetest.Memory, *ledger.Book) {
		mem := storagetest.NewMemory()
		b, err := ledger.Open(ctx, mem, entry, "worker")
		if err == nil {
			err = b.Change(ctx, func(l *ledger.Ledger) error {
				l.Plan(file("0_asset001", 1), time.Unix(1, 0))
				l.Plan(file("0_asset001", 2), time.Unix(1, 0))
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return mem, b
	}
	edit := func(mem *storagetest.Memory, from, to string) {
		text := read(t, mem)
		if !strings.Contains(text, from) {
			t.Fatalf("no %s in %s", from, text)
		}
		if _, err := mem.Put(ctx, ledger.Key(entry), [][]byte{[]byte(strings.Replace(text, from, to, 1))}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ from, to, says string }{
		{`"state":"planned"`, `"state":"done"`, "none of planned"},
		{`"n":1`, `"n":0`, "stands behind"},
		{`"firstSeq":2`, `"firstSeq":1`, "both hold item 1"},
		{`"0_asset001.0":2`, `"0_asset001.0":1`, "has been given"},
		{`"asset":"0_asset001"`, `"asset":"../../x"`, "can't be"},
		{`"state":"planned"`, `"state":"appending"`, "without a size"},
		{`"entry":"0_rkij47dr"`, `"entry":"0_another1"`, "0_another1"},
		{`{`, `[`, "invalid character"},
	} {
		mem, b := whole(t)
		edit(mem, c.from, c.to)
		text := read(t, mem)
		if _, err := ledger.Load(ctx, mem, entry); !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.to, err)
		}
		if _, err := ledger.Open(ctx, mem, entry, "other"); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: opened: %v", c.to, err)
		}
		if err := b.Change(ctx, func(*ledger.Ledger) error { return nil }); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: changed: %v", c.to, err)
		}
		if read(t, mem) != text {
			t.Errorf("%s: the damaged ledger was overwritten", c.to)
		}
	}
	mem, b := whole(t)
	edit(mem, `"state":"planned"`, `"state":"skipped"`)
	if err := b.Change(ctx, func(*ledger.Ledger) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if f := b.Ledger().Files[0]; f.State != ledger.Skipped {
		t.Errorf("an edit that makes sense: %+v", f)
	}
	edit(mem, `"v":1`, `"v":2`)
	if _, err := ledger.Load(ctx, mem, entry); !errors.Is(err, ledger.ErrVersion) {
		t.Errorf("a newer version: %v", err)
	}
}

func read(t *testing.T, mem *storagetest.Memory) string {
	t.Helper()
	r, info, err := mem.Get(t.Context(), ledger.Key(entry), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := make([]byte, info.Size)
	if _, err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestManyFiles: a ledger with more files than it may have is no damage. It takes no more, in words, and what was
// recorded can be settled; confirmed files that are let go are remembered in runs, so months of them are small.
func TestManyFiles(t *testing.T) {
	ctx := t.Context()
	store := storagetest.NewMemory()
	b, err := ledger.Open(ctx, store, entry, "recorder")
	if err != nil {
		t.Fatal(err)
	}
	plan := func(l *ledger.Ledger, n int, state ledger.State) {
		for range n {
			seq := uint64(len(l.Files)) + 1
			l.Plan(file(fmt.Sprintf("0_asset%03d", seq%5), seq), time.Now()).State = state
		}
	}
	if err := b.Change(ctx, func(l *ledger.Ledger) error { plan(l, ledger.MaxFiles, ledger.Planned); return nil }); err != nil {
		t.Fatal(err)
	}
	err = b.Change(ctx, func(l *ledger.Ledger) error { plan(l, 1, ledger.Planned); return nil })
	if !errors.Is(err, ledger.ErrFull) || errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "klive recording list") {
		t.Errorf("one file more: %v", err)
	}
	l, err := ledger.Load(ctx, store, entry)
	if err != nil || len(l.Files) != ledger.MaxFiles {
		t.Fatalf("a full ledger: %v", err)
	}
	// All are confirmed and all but the newest let go, as a day after the other would.
	err = b.Change(ctx, func(l *ledger.Ledger) error {
		var old []string
		for i := range l.Files {
			if l.Files[i].State = ledger.Confirmed; i < len(l.Files)-100 {
				old = append(old, l.Files[i].ID())
			}
		}
		l.Keep(old...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err = ledger.Load(ctx, store, entry)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for i := range l.Kept {
		for _, key := range l.Kept[i].Keys(entry) {
			keys[key] = true
		}
	}
	if len(l.Files) != 100 || len(keys) != ledger.MaxFiles-100 || len(l.Kept) > len(keys)/100+5 || !keys["recordings/"+entry+".0_asset003.0_17.mp4"] {
		t.Errorf("%d files are named, %d in %d runs", len(l.Files), len(keys), len(l.Kept))
	}
	if list, err := store.List(ctx, ledger.Key(entry), "", 1); err != nil || len(list) != 1 || list[0].Size > 200<<10 {
		t.Errorf("it weighs %+v, %v", list, err)
	}
}

// TestKeptRunsAreChecked: what people edit must make sense.
func TestKeptRunsAreChecked(t *testing.T) {
	for _, run := range []string{`{"asset":"a/b","from":0,"to":0}`, `{"asset":"0_a","from":2,"to":1}`, `{"asset":"0_a","from":0,"to":5}`, `{"asset":"0_a","from":-1,"to":1}`, `{"asset":"0_a","index":2,"from":0,"to":1}`} {
		store := storagetest.NewMemory()
		text := `{"v":1,"entry":"` + entry + `","epoch":1,"next":{"0_a.0":3},"kept":[` + run + `]}`
		if _, err := store.Put(t.Context(), ledger.Key(entry), [][]byte{[]byte(text)}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Load(t.Context(), store, entry); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %v", run, err)
		}
	}
}

// TestAllDue: of each series the first file that is not settled, also where it is parked.
func TestAllDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger.Ledger{}
		states := []ledger.State{ledger.Planned, ledger.Uploaded, ledger.Appending, ledger.Confirmed, ledger.Parked, ledger.Skipped}
		series := map[string]bool{}
		for range rapid.IntRange(0, 30).Draw(t, "files") {
			f := file(rapid.SampledFrom([]string{"0_a", "0_b", "0_c"}).Draw(t, "asset"), 1)
			f.Index = rapid.IntRange(0, 1).Draw(t, "index")
			g := l.Plan(f, time.Unix(1, 0))
			g.State = rapid.SampledFrom(states).Draw(t, "state")
			series[g.Series()] = true
		}
		due := l.AllDue()
		for _, f := range due {
			if !series[f.Series()] || f != l.Due(f.Series()) {
				t.Errorf("%s is due, or twice; want %v", f.ID(), l.Due(f.Series()))
			}
			delete(series, f.Series())
		}
		for s := range series {
			if f := l.Due(s); f != nil {
				t.Errorf("%s is not among those that are due", f.ID())
			}
		}
	})
}
