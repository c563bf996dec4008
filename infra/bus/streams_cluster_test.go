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
	var streams *bus.Streams
	eventually(t, func() (err error) {
		streams, err = bus.NewStreams(t.Context(), c, bus.StreamsConfig{Shards: 1, MaxAge: time.Minute, MaxTotalBytes: 256 << 20, Decode: bustest.DecodeBody})
		return err
	})
	defer streams.Close()
	reader := openStreams(t, nodes.connect(t, 3), bus.StreamsConfig{Shards: 1, MaxAge: time.Minute, MaxTotalBytes: 256 << 20})
	f, err := reader.Follow(t.Context(), "m.0_abc.0._1.7", 0)
	must(t, err)
	defer f.Close()
	state := watchState(t, c, nodes.connect(t, 3))

	const messages, killAt = 60, 20
	gaps := make(chan time.Duration, 1)
	go func() { gaps <- publishOver(t, streams, messages, killAt, func() { killLeader(t, nodes, streams) }) }()
	for i := 1; i <= messages; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		m, err := f.Next(ctx)
		cancel()
		if err != nil || m.Seq != uint64(i) || m.ID != fmt.Sprint("id", i) {
			t.Fatalf("message %d: got %d %q, %v", i, m.Seq, m.ID, err)
		}
	}
	gap := <-gaps
	t.Logf("longest time without an acknowledgement: %v", gap)
	if gap > 10*time.Second {
		t.Errorf("nothing could be published for %v", gap)
	}
	state.verify(t)
}

// publishOver publishes messages, each until it is stored, and returns the longest
// time that one took.
func publishOver(t *testing.T, s *bus.Streams, messages, at int, then func()) (longest time.Duration) {
	body := bustest.Body(bytes.Repeat([]byte("v"), 200_000))
	for i := 1; i <= messages; i++ {
		start := time.Now()
		for t.Context().Err() == nil {
			seq, err := s.Publish(t.Context(), "m.0_abc.0._1.7", fmt.Sprint("id", i), body)
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
		longest = max(longest, time.Since(start))
		if i == at {
			then()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return longest
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
	done    chan struct{}
}

const stateWrites = 40

func watchState(t *testing.T, near, far *bus.Control) *watchedState {
	t.Helper()
	w := &watchedState{done: make(chan struct{})}
	w.bucket = openBucket(t, near, bus.BucketConfig{Name: "feeds"})
	w.log = openLog(t, near, bus.LogConfig{Name: "timeline"})
	var err error
	w.watcher, err = openBucket(t, far, bus.BucketConfig{Name: "feeds"}).Watch(t.Context(), "n")
	must(t, err)
	w.reader, err = openLog(t, far, bus.LogConfig{Name: "timeline"}).Follow(t.Context(), "", 0)
	must(t, err)
	w.lease, err = bus.AcquireLease(t.Context(), openBucket(t, near, bus.BucketConfig{Name: "leases"}), "0_abc", "me", 15*time.Second)
	must(t, err)
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
		start := time.Now()
		if !put {
			_, err := w.bucket.Put(t.Context(), "n", text)
			put = err == nil
		}
		if !appended {
			_, err := addTo(t.Context(), w.log, "0_abc", fmt.Sprint(i), text)
			appended = err == nil
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("two writes took %v to fail", took)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *watchedState) verify(t *testing.T) {
	t.Helper()
	<-w.done
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
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
		t.Errorf("the lease was lost: %v", w.lease.Err())
	default:
	}
	must(t, w.lease.Release(ctx))
}
