package recorder_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/storage/ledger"
	"klive/workers/recorder"
)

// worker is a pool of recorders in a process that can be killed.
type worker struct {
	p    *process
	kill context.CancelFunc
	done chan error
}

func startWorker(t *testing.T, n *bus.Node, name string, s *stream, k *kalturaAPI, owns func() bool) *worker {
	t.Helper()
	w := &worker{p: &process{}, done: make(chan error, 1)}
	feeds := func() []live.FeedRecord {
		list := s.feeds()
		for i := range list {
			list[i].Beat = time.Now()
		}
		return list
	}
	pool, err := recorder.NewPool(t.Context(), recorder.PoolConfig{
		Name: name, Control: bustest.Connect(t, n, name), Store: mortal{s.store, w.p}, Recordings: mortal{s.store, w.p},
		Timelines: s, API: mortalAPI{k, w.p}, Options: options(10 * time.Second), Log: testLog(t), Scan: 5 * time.Second,
		Owned: func() map[string][]live.FeedRecord {
			if owns() {
				return map[string][]live.FeedRecord{entry: feeds()}
			}
			return nil
		},
		Feeds: func(string) []live.FeedRecord { return feeds() },
	})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.kill = context.WithCancel(t.Context())
	go func() { w.done <- pool.Run(ctx) }()
	return w
}

// TestPoolsTakeOver kills the worker that records in the middle of a broadcast: another, which
// owns nothing, finishes it, and obeys what an operator has ordered meanwhile.
func TestPoolsTakeOver(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		n := bustest.StartNode(t)
		orders, err := n.Control().Bucket(t.Context(), bus.BucketConfig{Name: recorder.OrdersBucket})
		if err != nil {
			t.Fatal(err)
		}
		s, k := newStream(1, true), &kalturaAPI{}
		first := startWorker(t, n, "first", s, k, func() bool { return true })
		second := startWorker(t, n, "second", s, k, func() bool { return false })
		for i := range 20 {
			s.add(100)
			time.Sleep(4 * time.Second)
			if i == 7 {
				first.p.kill(0)
				first.kill()
				if err := <-first.done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		}
		k.mu.Lock()
		k.refuse = func(kaltura.AppendRequest) error { return &kaltura.APIError{Code: "SERVICE_FORBIDDEN", Message: "no"} }
		k.mu.Unlock()
		for range 3 {
			s.add(100)
			time.Sleep(4 * time.Second)
		}
		s.end()
		time.Sleep(time.Minute)
		l := loadLedger(t, s.store)
		at := len(k.of(assets[0]))
		f := l.Due(assets[0] + ".0")
		if f == nil || f.State != ledger.Parked || f.N != at {
			t.Fatalf("%d files are appended, the next is %+v", at, f)
		}
		k.mu.Lock()
		k.refuse = nil
		k.mu.Unlock()
		if err := recorder.Send(t.Context(), orders, entry, recorder.OrderRetry, f.ID(), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 2300)
		if left, err := orders.List(t.Context(), ""); err != nil || len(left) != 0 {
			t.Errorf("%d orders are left, %v", len(left), err)
		}
		second.kill()
		if err := <-second.done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestFormerOwnerGoesOnRecording moves an entry to another worker in the middle of a broadcast. Who has
// begun to record goes on to the end, under the same epoch of the ledger, and nothing is recorded twice.
func TestFormerOwnerGoesOnRecording(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		n := bustest.StartNode(t)
		s, k := newStream(1, true), &kalturaAPI{}
		var moved atomic.Bool
		first := startWorker(t, n, "first", s, k, func() bool { return !moved.Load() })
		second := startWorker(t, n, "second", s, k, func() bool { return moved.Load() })
		var begun uint64
		for i := range 20 {
			s.add(100)
			time.Sleep(4 * time.Second)
			if i == 7 {
				begun = loadLedger(t, s.store).Epoch
				moved.Store(true)
			}
		}
		if l := loadLedger(t, s.store); l.Owner != "first" || l.Epoch != begun {
			t.Errorf("the ledger is %s's, epoch %d; it was first's, epoch %d", l.Owner, l.Epoch, begun)
		}
		s.end()
		time.Sleep(time.Minute)
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 2000)
		for _, w := range []*worker{first, second} {
			w.kill()
			if err := <-w.done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

func TestOrdersThatCantBe(t *testing.T) {
	for _, c := range []struct{ entry, kind, file string }{
		{"../etc", recorder.OrderSplit, ""}, {entry, "delete", "x"}, {entry, recorder.OrderSkip, ""},
	} {
		if err := recorder.Send(t.Context(), nil, c.entry, c.kind, c.file, time.Now()); !errors.Is(err, recorder.ErrOrder) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestOrdersRefused says why what an operator asks for can't be, as the ledger stands.
func TestOrdersRefused(t *testing.T) {
	const parked, written, appending, confirmed, skipped, never = 6, 5, 4, 3, 2, 1
	l := &ledger.Ledger{Files: []ledger.File{
		{Asset: "0_aaaaaaaa", N: never, State: ledger.Skipped}, {Asset: "0_aaaaaaaa", N: skipped, State: ledger.Skipped, Size: 9},
		{Asset: "0_aaaaaaaa", N: confirmed, State: ledger.Confirmed, Size: 9}, {Asset: "0_aaaaaaaa", N: appending, State: ledger.Appending, Size: 9},
		{Asset: "0_aaaaaaaa", N: written, State: ledger.Uploaded, Size: 9}, {Asset: "0_aaaaaaaa", N: parked, State: ledger.Parked, Size: 9},
		{Asset: "0_bbbbbbbb", N: 1, State: ledger.Skipped, Size: 9},
	}}
	for _, c := range []struct {
		kind string
		file int // of l.Files
		says string
	}{
		{recorder.OrderRetry, 0, "never written"}, {recorder.OrderRetry, 1, "files behind it"}, {recorder.OrderSkip, 1, "skipped already"},
		{recorder.OrderRetry, 2, "is confirmed"}, {recorder.OrderSkip, 2, "is confirmed"},
		{recorder.OrderRetry, 3, "being appended"}, {recorder.OrderSkip, 3, "being appended"},
		{recorder.OrderRetry, 4, "waits to be appended"}, {recorder.OrderSkip, 4, ""},
		{recorder.OrderRetry, 5, ""}, {recorder.OrderSkip, 5, ""}, {recorder.OrderRetry, 6, ""},
	} {
		got := recorder.Refused(l, c.kind, l.Files[c.file].ID())
		if !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%s of file %d: %q; want %q", c.kind, c.file, got, c.says)
		}
	}
	if got := recorder.Refused(l, recorder.OrderSkip, "0_aaaaaaaa.0_9"); !strings.Contains(got, "no such file") {
		t.Errorf("of none: %q", got)
	}
}
