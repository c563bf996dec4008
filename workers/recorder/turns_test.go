package recorder_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/media"
	"klive/storage/ledger"
)

// TestTurnsOfALongLedger: what a turn costs grows no faster than the ledger. A hundred with 5000 files are nothing to speak of.
func TestTurnsOfALongLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, false), &kalturaAPI{}
		b, err := ledger.Open(t.Context(), s.store, entry, "worker")
		if err == nil {
			err = b.Change(t.Context(), func(l *ledger.Ledger) error {
				for i := range 5000 {
					f := l.Plan(ledger.File{Asset: assets[i%4], Partner: 102, Broadcast: fmt.Sprint("b", i/100), Rendition: entry + "_0",
						FirstSeq: uint64(i + 1), LastSeq: uint64(i + 1), Start: media.At(time.Now()), Duration: time.Second, Size: 9}, time.Now())
					f.State = ledger.Confirmed
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		o := options(time.Hour)
		o.Keep = 365 * 24 * time.Hour
		r := newRecorder(t, s, s.store, k, o)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(time.Second)
		before := spent(t)
		time.Sleep(100 * o.Poll)
		if took := spent(t) - before; took > 10*time.Second {
			t.Errorf("a hundred turns took %v of the processor", took)
		}
		end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

// spent is the processor time of the process.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
