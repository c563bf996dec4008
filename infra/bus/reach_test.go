package bus_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// A follower in a cluster begins at once, through whichever server it is connected and
// wherever its consumer is: one in fifty questions for messages used to get there before
// the servers knew where the consumer listens, and cost two heartbeats.
func TestClusterFollowersBegin(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	const subjects, parts, follows = 8, 6, 100
	nodes := startCluster(t, 3)
	config := bus.StreamsConfig{MaxAge: time.Minute, MaxTotalBytes: 256 << 20, Decode: bustest.DecodeBody}
	c := nodes.connect(t, 3)
	var streams *bus.Streams
	eventually(t, func() (err error) {
		streams, err = bus.NewStreams(t.Context(), c, config)
		return err
	})
	defer streams.Close()
	subject := func(n int) string { return fmt.Sprintf("m.0_abc%d.0._1.7", n%subjects) }
	for n := range subjects {
		for i := range parts {
			_, err := streams.Publish(t.Context(), subject(n), fmt.Sprint("id", i), bustest.Body(bytes.Repeat([]byte("v"), 10_000)))
			must(t, err)
		}
	}
	var worst time.Duration
	slow := 0
	for range 3 {
		reader := openStreams(t, nodes.connect(t, 3), config)
		for n := range follows {
			began := time.Now()
			f, err := reader.Follow(t.Context(), subject(n), 1)
			must(t, err)
			for range parts {
				_, err := f.Next(t.Context())
				must(t, err)
			}
			f.Close()
			took := time.Since(began)
			worst = max(worst, took)
			if took > 1500*time.Millisecond { // two heartbeats missed: its first request was lost
				slow++
			}
		}
	}
	t.Logf("the slowest of %d follows took %v", 3*follows, worst)
	// A loaded machine delays a few of them as well.
	if slow > 3*follows/30 || worst > 5*time.Second {
		t.Errorf("%d of %d follows lost their first request; the slowest took %v", slow, 3*follows, worst)
	}
}
