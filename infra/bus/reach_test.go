package bus_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/check/fault"
)

// A follower in a cluster begins at once, through whichever server it is connected and
// wherever its consumer is: one in fifty questions for messages used to get there before
// the servers knew where the consumer listens, and cost two heartbeats.
func TestClusterFollowersBegin(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	const subjects, parts = 8, 2
	follows := check.Length(100, 30) // through each of three connections
	nodes := startCluster(t, 3)
	config := bus.StreamsConfig{MaxAge: time.Minute, MaxTotalBytes: 256 << 20, Decode: bustest.DecodeBody}
	c := nodes.connect(t, 3)
	streams := clusterStreams(t, c, config)
	subject := func(n int) string { return fmt.Sprintf("m.0_abc%d.0._1.7", n%subjects) }
	for n := range subjects {
		for i := range parts {
			eventually(t, func() error { // its stream may have no leader yet
				_, err := streams.Publish(t.Context(), subject(n), fmt.Sprint("id", i), bustest.Body(bytes.Repeat([]byte("v"), 10_000)))
				return err
			})
		}
	}
	var worst time.Duration
	lost := 0
	for range 3 {
		reg := prometheus.NewRegistry()
		config.Registerer = reg
		reader, reopened := clusterStreams(t, nodes.connect(t, 3), config), 0.0
		for n := range follows {
			watch := fault.NewStopwatch(nodes.pids()...)
			f := opened(t, func() (bus.Follower, error) { return reader.Follow(t.Context(), subject(n), 1) })
			for i := range parts {
				clusterReceive(t, f, uint64(i+1), fmt.Sprint("id", i))
			}
			f.Close()
			took, _ := watch.Took()
			worst = max(worst, took)
			if watch.Beyond(1500*time.Millisecond) != nil { // it may have missed two heartbeats and begun anew
				before := reopened
				if reopened = metric(t, reg, "klive_bus_media_follower_reopened_total"); reopened > before {
					lost++
				}
			}
		}
	}
	t.Logf("the slowest of %d follows took %v", 3*follows, worst)
	if lost > 3*follows/30 {
		t.Errorf("requests of %d of %d follows were lost; the slowest took %v", lost, 3*follows, worst)
	}
}
