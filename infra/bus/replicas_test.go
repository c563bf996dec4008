package bus_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"klive/infra/bus"
)

// TestReplicasAreNeverLowered opens the same records with one copy, with three, and with one
// again: the second raises them and says so, the third keeps them and warns once.
func TestReplicasAreNeverLowered(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	nodes := startCluster(t, 3)
	nc, err := nats.Connect(nodes.url)
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	for _, step := range []struct {
		asked, want int
		says        string
		times       int
	}{
		{1, 1, "copies", 0},
		{3, 3, "a stream gets more copies", 3},
		{1, 3, "has more copies than bus.replicas says", 1},
	} {
		var log bytes.Buffer
		openAll(t, nodes.url, step.asked, slog.New(slog.NewTextHandler(&log, nil)))
		for _, name := range []string{"KV_feeds", "klive_timeline", "klive_media_0"} {
			s, err := js.Stream(t.Context(), name)
			must(t, err)
			if got := s.CachedInfo().Config.Replicas; got != step.want {
				t.Errorf("bus.replicas %d: %s has %d copies, want %d", step.asked, name, got, step.want)
			}
		}
		if got := strings.Count(log.String(), step.says); got != step.times {
			t.Errorf("bus.replicas %d: the log says %q %d times, want %d:\n%s", step.asked, step.says, got, step.times, log.String())
		}
	}
}

// openAll opens a bucket, a log and a media plane, as a process does that starts and ends.
func openAll(t *testing.T, url string, replicas int, log *slog.Logger) {
	t.Helper()
	c := opened(t, func() (*bus.Control, error) {
		return bus.Connect(t.Context(), bus.ConnectConfig{URL: url, Replicas: replicas, Logger: log})
	})
	defer c.Close()
	clusterBucket(t, c, bus.BucketConfig{Name: "feeds"})
	clusterLog(t, c, bus.LogConfig{Name: "timeline"})
	clusterStreams(t, c, bus.StreamsConfig{Shards: 1, MaxTotalBytes: 16 << 20, Logger: log})
}
