package recorder_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/ledger"
)

// TestMonthsOfRecordings keeps more files than the ledger names: the older ones' MP4s rest in the store until their time is
// over, and then go, as the others do.
func TestMonthsOfRecordings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, false), &kalturaAPI{}
		s.end()
		b, err := ledger.Open(t.Context(), s.store, entry, "worker")
		if err != nil {
			t.Fatal(err)
		}
		const all = 5210
		err = b.Change(t.Context(), func(l *ledger.Ledger) error {
			for i := range all {
				f := l.Plan(ledger.File{Asset: assets[i%2], Partner: 102, Broadcast: fmt.Sprint("b", i/100), Rendition: entry + "_0",
					FirstSeq: uint64(i + 1), LastSeq: uint64(i + 1), Start: media.At(time.Now()), Duration: time.Second, Size: 9}, time.Now())
				f.State = ledger.Confirmed
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		kept := []string{"recordings/" + entry + "." + assets[0] + ".0_0.mp4", "recordings/" + entry + "." + assets[1] + ".0_2604.mp4"}
		for _, key := range kept {
			if _, err := s.store.Put(t.Context(), key, [][]byte{[]byte("an mp4")}, storage.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		o := options(time.Minute)
		o.Keep = 90 * 24 * time.Hour
		work := func() *ledger.Ledger {
			t.Helper()
			if err := newRecorder(t, s, s.store, k, o).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			return loadLedger(t, s.store)
		}
		there := func() (n int) {
			for _, key := range kept {
				list, err := s.store.List(t.Context(), key, "", 1)
				if err != nil {
					t.Fatal(err)
				}
				n += len(list)
			}
			return n
		}
		l := work()
		if len(l.Files) != 5000 || len(l.Kept) != 4 || l.Kept[0].From != 0 || there() != 2 {
			t.Errorf("%d files and %d runs (%+v), and %d MP4s of 2", len(l.Files), len(l.Kept), l.Kept, there())
		}
		time.Sleep(91 * 24 * time.Hour)
		if l := work(); len(l.Files)+len(l.Kept) != 0 || there() != 0 {
			t.Errorf("after their time: %d files, %d runs, %d MP4s", len(l.Files), len(l.Kept), there())
		}
	})
}
