package recorder_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/workers/recorder"
)

// TestShortBroadcastBehindADeadRecorder kills who had just begun to record, and ends the broadcast before
// that one's lease has run out: who owns the entry then records it all the same.
func TestShortBroadcastBehindADeadRecorder(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		n := bustest.StartNode(t)
		dead := bustest.Connect(t, n, "dead")
		leases, err := dead.Bucket(t.Context(), bus.BucketConfig{Name: recorder.LeasesBucket})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bus.AcquireLease(t.Context(), leases, entry, "dead", 15*time.Second); err != nil {
			t.Fatal(err)
		}
		dead.Close() // nobody renews the lease, nobody gives it back
		s, k := newStream(1, true), &kalturaAPI{}
		var over atomic.Bool
		w := startWorker(t, n, "second", s, k, func() bool { return !over.Load() })
		for range 2 {
			time.Sleep(4 * time.Second)
			s.add(100)
		}
		over.Store(true)
		s.end()
		time.Sleep(time.Minute)
		everyFrame(t, k, assets[0], 200)
		w.kill()
		if err := <-w.done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
