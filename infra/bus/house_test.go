package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// kept is a bucket, a log and a media stream on a cluster, with something in each.
type kept struct {
	control *bus.Control
	bucket  *bus.Bucket
	log     *bus.Log
	media   *bus.Streams
	parts   int
}

func keep(t *testing.T, nodes *cluster) *kept {
	t.Helper()
	k := &kept{control: nodes.connect(t, 3)}
	k.bucket = clusterBucket(t, k.control, bus.BucketConfig{Name: "feeds"})
	k.log = clusterLog(t, k.control, bus.LogConfig{Name: "timeline"})
	k.media = clusterStreams(t, k.control, bus.StreamsConfig{Shards: 1, MaxAge: time.Minute, MaxTotalBytes: 64 << 20})
	eventually(t, func() error { _, err := k.bucket.Put(t.Context(), "kept", []byte("value")); return err })
	eventually(t, func() error { _, err := addTo(t.Context(), k.log, "0_abc", "first", []byte("record")); return err })
	k.publish(t)
	return k
}

// publish stores one more part.
func (k *kept) publish(t *testing.T) {
	t.Helper()
	k.parts++
	eventually(t, func() error {
		seq, err := k.media.Publish(t.Context(), feedSubject, fmt.Sprint(k.parts), bustest.Body("part"))
		if err == nil && seq != uint64(k.parts) {
			t.Errorf("part %d has number %d", k.parts, seq)
		}
		return err
	})
}

// works says that records are there and media flow.
func (k *kept) works(t *testing.T) {
	t.Helper()
	k.publish(t)
	eventually(t, func() error {
		kv, err := k.bucket.Get(t.Context(), "kept")
		if err == nil && string(kv.Value) != "value" {
			t.Errorf("the bucket holds %q", kv.Value)
		}
		return err
	})
	eventually(t, func() error {
		last, err := k.log.LastSeq(t.Context(), "0_abc")
		if err == nil && last == 0 {
			t.Error("the log has lost its record")
		}
		return err
	})
	eventually(t, func() error { return k.control.Led(t.Context()) })
}

// whole says that all works and has three copies, none behind, as a process sees to that goes on.
func (k *kept) whole(t *testing.T, nodes *cluster) {
	t.Helper()
	k.works(t)
	nc, err := nats.Connect(nodes.url)
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	eventually(t, func() error {
		k.control.Complete(t.Context())
		for _, name := range []string{"KV_feeds", "klive_timeline", "klive_media_0"} {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				return err
			}
			info := s.CachedInfo()
			if n := len(info.Cluster.Replicas); info.Config.Replicas != 3 || n != 2 {
				return fmt.Errorf("%s has %d copies and %d others than the leader's", name, info.Config.Replicas, n)
			}
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					return fmt.Errorf("%s: the copy of %s: %+v", name, r.Name, r)
				}
			}
		}
		return nil
	})
}

// tells looks, until the function that it returns is called, whether the cluster is there and both the
// connection and the media plane say that media have no leader.
func (k *kept) tells(t *testing.T) (stop func() bool) {
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan bool, 1)
	go func() {
		for ctx.Err() == nil {
			if k.control.Healthy() == nil && errors.Is(k.control.Led(ctx), bus.ErrElecting) && errors.Is(k.media.Healthy(), bus.ErrElecting) {
				told <- true
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		told <- false
	}()
	return func() bool { cancel(); return <-told }
}

// Two of three nodes carry media again after all were down at once, without the third, which
// takes its part when it comes. What was on disk is there.
func TestClusterTotalStop(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 40 s")
	}
	nodes := startCluster(t, 3)
	k := keep(t, nodes)
	k.whole(t, nodes)
	for name := range nodes.nodes {
		nodes.kill(t, name)
	}
	nodes.start(t, "node1")
	nodes.start(t, "node2")
	start := time.Now()
	tells := k.tells(t)
	k.publish(t)
	t.Logf("two nodes carried media after %v", time.Since(start))
	if !tells() {
		t.Error("while the cluster had a leader and media had none, nothing told of it")
	}
	k.works(t)
	nodes.start(t, "node3")
	k.whole(t, nodes)
}

// Nodes that lose their folders one after the other take their old places: nothing of the
// records is lost, and everything has three copies again. When most of them lose theirs at once,
// records may be lost, and all goes on with three copies.
func TestClusterWipedNodes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 40 s")
	}
	nodes := startCluster(t, 3)
	k := keep(t, nodes)
	k.whole(t, nodes)
	for _, name := range []string{"node3", "node3", "node3", "node1"} {
		nodes.wipe(t, name)
		k.whole(t, nodes)
	}
	nodes.wipe(t, "node1", "node3")
	eventually(t, func() error { _, err := k.bucket.Put(t.Context(), "kept", []byte("value")); return err })
	eventually(t, func() error {
		last, err := k.log.LastSeq(t.Context(), "0_abc")
		if err == nil {
			_, err = k.log.Append(t.Context(), "0_abc", "again", []byte("record"), last)
		}
		return err
	})
	k.whole(t, nodes)
}

// A node in place of another, under a new name: the cluster forgets the old one, and everything
// has three copies again.
func TestClusterReplacedNode(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 40 s")
	}
	nodes := startCluster(t, 3)
	k := keep(t, nodes)
	nodes.with["node3"][0] = "other"
	nodes.wipe(t, "node3")
	k.publish(t)
	time.Sleep(20 * time.Second) // it is not taken for replaced before that
	k.whole(t, nodes)
}
