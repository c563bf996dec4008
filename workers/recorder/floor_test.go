package recorder_test

import (
	"errors"
	"testing"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/ledger"
	"klive/workers/recorder"
)

// TestMediaStayUntilTheyAreRecorded follows the floor from before a recorder has begun until
// everything is in files, and over a ledger that can't be read.
func TestMediaStayUntilTheyAreRecorded(t *testing.T) {
	ctx := t.Context()
	s := newStream(1, false)
	for range 5 {
		s.add(100)
	}
	f := recorder.Floors{Store: s.store, Timelines: s}
	state, _ := s.State(ctx, entry)
	state.Entry = entry
	if _, ok, err := f.Keep(ctx, state, false); ok || err != nil {
		t.Errorf("nothing is recorded: %v, %v", ok, err)
	}
	if at, ok, err := f.Keep(ctx, state, true); !ok || err != nil || at != origin {
		t.Errorf("no recorder has begun: %v, %v, %v", at, ok, err)
	}
	b, err := ledger.Open(ctx, s.store, entry, "worker")
	if err != nil {
		t.Fatal(err)
	}
	set := func(next uint64, closed bool) {
		t.Helper()
		err := b.Change(ctx, func(l *ledger.Ledger) error {
			l.Sessions = []ledger.Session{{Broadcast: broadcast, Tracks: []ledger.Track{{Asset: assets[0], Rendition: entry + "_0", NextSeq: next, Closed: closed}}}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	item := func(i int) media.Time { return state.Broadcasts[0].Items[i].Start }
	set(3, false)
	if at, ok, err := f.Keep(ctx, state, true); !ok || err != nil || at != item(2) {
		t.Errorf("item 3 is next: %v, want %v (%v, %v)", at, item(2), ok, err)
	}
	// The sweeper keeps what begins after the instant.
	if at, ok, err := f.Floor(ctx, entry); !ok || err != nil || at != item(2)-1 {
		t.Errorf("the sweeper's: %v, want %v (%v, %v)", at, item(2)-1, ok, err)
	}
	set(5, true)
	if _, ok, err := f.Keep(ctx, state, true); ok || err != nil {
		t.Errorf("all is recorded: %v, %v", ok, err)
	}
	if _, err := s.store.Put(ctx, ledger.Key(entry), [][]byte{[]byte("{")}, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Keep(ctx, state, true); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a damaged ledger: %v", err)
	}
	if _, _, err := f.Floor(ctx, entry); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a damaged ledger, for the sweeper: %v", err)
	}
}
