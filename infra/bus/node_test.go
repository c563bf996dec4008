package bus_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/bus"
)

func TestNodeKeepsItsFolder(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data", "bus")
	for round := range 3 {
		start := time.Now()
		n, err := bus.StartNode(ctx, bus.NodeConfig{Dir: dir})
		must(t, err)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("start %d took %v", round, took)
		}
		must(t, n.Control().Healthy())
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "feeds"})
		gone := openBucket(t, n.Control(), bus.BucketConfig{Name: "memory", Memory: true})
		l := openLog(t, n.Control(), bus.LogConfig{Name: "timeline", MaxAge: time.Hour})
		epoch, err := b.Next(ctx, "epoch")
		must(t, err)
		if epoch != uint64(round+1) {
			t.Errorf("start %d: epoch %d", round, epoch)
		}
		if _, err := gone.Create(ctx, "a", nil, 0); err != nil {
			t.Errorf("start %d: a key in memory: %v", round, err)
		}
		_, err = addTo(ctx, l, "0_abc", strconv.Itoa(round), []byte("record"))
		must(t, err)
		f, err := l.Follow(ctx, "0_abc", 0)
		must(t, err)
		for i := range round + 1 {
			r, err := f.Next(ctx)
			must(t, err)
			if r.ID != strconv.Itoa(i) || string(r.Data) != "record" {
				t.Errorf("start %d: record %d is %+v", round, i, r)
			}
		}
		_, err = bus.StartNode(ctx, bus.NodeConfig{Dir: dir})
		wantErr(t, err, bus.ErrInUse)
		if !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || !strings.Contains(err.Error(), "stop that process") {
			t.Errorf("a folder in use: %v", err)
		}
		n.Close()
		n.Close()
		wantErr(t, n.Control().Healthy(), bus.ErrClosed)
		_, err = b.Get(ctx, "epoch")
		wantErr(t, err, bus.ErrClosed)
	}
}

func TestNodeWithoutPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	_, err := bus.StartNode(t.Context(), bus.NodeConfig{Dir: filepath.Join(file, "bus")})
	if err == nil || !strings.Contains(err.Error(), "choose a folder") {
		t.Errorf("a folder that cannot be: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = bus.StartNode(ctx, bus.NodeConfig{Dir: t.TempDir()})
	wantErr(t, err, context.Canceled)
}

func TestNodeStoreLimit(t *testing.T) {
	n, err := bus.StartNode(t.Context(), bus.NodeConfig{Dir: t.TempDir(), StoreLimit: 1 << 20})
	must(t, err)
	defer n.Close()
	_, err = n.Control().Bucket(t.Context(), bus.BucketConfig{Name: "large", MaxBytes: 1 << 30})
	wantErr(t, err, bus.ErrFull)
}

func BenchmarkStartNode(b *testing.B) {
	for b.Loop() {
		n, err := bus.StartNode(b.Context(), bus.NodeConfig{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
}
