package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check/fault"
)

// The stream's leader dies without a word while media flow: no message whose
// publish returned may be missing, none may come twice, and it goes on within ten
// seconds. Watches, logs and leases live on beside it.
func TestClusterLeaderDies(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	nodes := startCluster(t, 3)
	c := nodes.connect(t, 3)
	config := bus.StreamsConfig{Shards: 1, MaxAge: time.Minute, MaxTotalBytes: 256 << 20}
	streams, reader := clusterStreams(t, c, config), clusterStreams(t, nodes.connect(t, 3), config)
	f := opened(t, func() (bus.Follower, error) { return reader.Follow(t.Context(), feedSubject, 0) })
	defer f.Close()
	state := watchState(t, nodes, c, nodes.connect(t, 3))

	const messages, killAt = 60, 20
	published := make(chan struct{})
	go func() {
		defer close(published)
		publishOver(t, nodes, streams, messages, killAt)
	}()
	for i := 1; i <= messages; i++ {
		clusterReceive(t, f, uint64(i), fmt.Sprint("id", i))
	}
	<-published
	state.verify(t)
}

// publishOver publishes messages, each until it is stored and none for longer than ten seconds,
// and kills the stream's leader after one of them.
func publishOver(t *testing.T, nodes *cluster, s *bus.Streams, messages, killAt int) {
	body := bustest.Body(bytes.Repeat([]byte("v"), 200_000))
	longest := time.Duration(0)
	for i := 1; i <= messages; i++ {
		watch := fault.NewStopwatch(nodes.pids()...)
		for t.Context().Err() == nil {
			seq, err := s.Publish(t.Context(), feedSubject, fmt.Sprint("id", i), body)
			if err == nil && seq != uint64(i) {
				t.Errorf("message %d was numbered %d", i, seq)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		took, _ := watch.Took()
		longest = max(longest, took)
		if err := watch.Beyond(10 * time.Second); err != nil {
			t.Errorf("message %d could not be published: %v", i, err)
		}
		if i == killAt {
			killLeader(t, nodes, s)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("longest time without an acknowledgement: %v", longest)
}

func killLeader(t *testing.T, c *cluster, s *bus.Streams) {
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Errorf("who leads the stream: %v", err)
		return
	}
	t.Logf("killing %s", stats[0].Leader)
	c.kill(t, stats[0].Leader)
}

// watchedState is a bucket, a log and a lease in use while a node dies.
type watchedState struct {
	bucket  *bus.Bucket
	log     *bus.Log
	watcher *bus.Watcher
	reader  *bus.LogFollower
	lease   *bus.Lease
	watch   *fault.Stopwatch
	done    chan struct{}
}

const (
	stateWrites = 40
	stateTTL    = 15 * time.Second // of the lease
)

func watchState(t *testing.T, nodes *cluster, near, far *bus.Control) *watchedState {
	t.Helper()
	w := &watchedState{watch: fault.NewStopwatch(nodes.pids()...), done: make(chan struct{})}
	w.bucket = clusterBucket(t, near, bus.BucketConfig{Name: "feeds"})
	w.log = clusterLog(t, near, bus.LogConfig{Name: "timeline"})
	bucket, log := clusterBucket(t, far, bus.BucketConfig{Name: "feeds"}), clusterLog(t, far, bus.LogConfig{Name: "timeline"})
	leases := clusterBucket(t, near, bus.BucketConfig{Name: "leases"})
	w.watcher = opened(t, func() (*bus.Watcher, error) { return bucket.Watch(t.Context(), "n") })
	w.reader = opened(t, func() (*bus.LogFollower, error) { return log.Follow(t.Context(), "", 0) })
	w.lease = opened(t, func() (*bus.Lease, error) { return bus.TakeLease(t.Context(), leases, "0_abc", "me", stateTTL) })
	go func() {
		defer close(w.done)
		for i := 1; i <= stateWrites; i++ {
			w.write(t, i)
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return w
}

// write writes the same to bucket and log until both have it.
func (w *watchedState) write(t *testing.T, i int) {
	text := fmt.Append(nil, i)
	for put, appended := false, false; (!put || !appended) && t.Context().Err() == nil; {
		watch := fault.NewStopwatch()
		if !put {
			_, err := w.bucket.Put(t.Context(), "n", text)
			put = err == nil
		}
		if !appended {
			_, err := addTo(t.Context(), w.log, "0_abc", fmt.Sprint(i), text)
			appended = err == nil
		}
		if err := watch.Beyond(11 * time.Second); err != nil {
			t.Errorf("two writes that fail: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *watchedState) verify(t *testing.T) {
	t.Helper()
	<-w.done
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := 1; i <= stateWrites; i++ {
		r, err := w.reader.Next(ctx)
		must(t, err)
		if string(r.Data) != fmt.Sprint(i) {
			t.Fatalf("record %d holds %s", i, r.Data)
		}
	}
	for last := 0; last < stateWrites; {
		change, err := w.watcher.Next(ctx)
		must(t, err)
		if change.InitialDone {
			continue
		}
		var n int
		if _, err := fmt.Sscan(string(change.Value), &n); err != nil || n < last {
			t.Fatalf("the watch went from %d to %q", last, change.Value)
		}
		last = n
	}
	select {
	case <-w.lease.Lost():
		if _, waited := w.watch.Took(); waited < stateTTL {
			t.Errorf("the lease was lost: %v", w.lease.Err())
		}
	default:
		must(t, w.lease.Release(ctx))
	}
}
