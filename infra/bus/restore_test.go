package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/check/fault"
)

// disk is a single server whose disk can be lost, or be put back as it was.
type disk struct {
	t       *testing.T
	dir     string
	address string
	server  *bus.Server
}

func newDisk(t *testing.T) *disk {
	d := &disk{t: t, dir: filepath.Join(t.TempDir(), "bus"), address: fault.Ports(t, 1)[0]}
	d.start()
	return d
}

func (d *disk) start() {
	d.server = startServer(d.t, bus.ServerConfig{Name: "disk", Dir: d.dir, Listen: d.address})
}

// to stops the server, gives it what change makes of its disk, and starts it again.
func (d *disk) to(change func() error) {
	d.t.Helper()
	d.server.Close()
	must(d.t, change())
	d.start()
}

func (d *disk) connect(name string) *bus.Control {
	d.t.Helper()
	c, err := bus.Connect(d.t.Context(), bus.ConnectConfig{URL: "nats://" + d.address, Name: name})
	must(d.t, err)
	d.t.Cleanup(c.Close)
	return c
}

// seen watches a bucket over and over, and counts how often it was made anew.
type seen struct {
	keys chan string
	anew chan struct{}
}

func watchOn(t *testing.T, b *bus.Bucket) *seen {
	s := &seen{keys: make(chan string, 100), anew: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	once := func() error {
		w, err := b.Watch(ctx, "")
		if err != nil {
			return err
		}
		defer w.Close()
		for {
			change, err := w.Next(ctx)
			if err != nil {
				return err
			}
			if !change.InitialDone {
				s.keys <- fmt.Sprint(change.Key, "=", string(change.Value))
			}
		}
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := once(); errors.Is(err, bus.ErrAnew) {
				s.anew <- struct{}{}
			} else if ctx.Err() == nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return s
}

func (s *seen) want(t *testing.T, key string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-s.keys:
			if got == key {
				return
			}
		case <-late:
			t.Fatalf("%s was never heard of", key)
		}
	}
}

func (s *seen) wantAnew(t *testing.T) {
	t.Helper()
	select {
	case <-s.anew:
	case <-time.After(patience):
		t.Fatal("nobody said that the bucket is another one")
	}
}

// TestBusWithoutItsData loses the server's disk under a watcher, a follower and a lease. The
// records are made anew, and everybody goes on with them.
func TestBusWithoutItsData(t *testing.T) {
	d, ctx := newDisk(t), t.Context()
	far, near := d.connect("far"), d.connect("near")
	b := openBucket(t, near, bus.BucketConfig{Name: "feeds"})
	epochs := openBucket(t, near, bus.BucketConfig{Name: "epochs", Lasting: true})
	l := openLog(t, near, bus.LogConfig{Name: "timeline"})
	before, err := epochs.Next(ctx, "entry")
	must(t, err)
	other := openBucket(t, far, bus.BucketConfig{Name: "feeds"})
	s := watchOn(t, b)
	for i := range 5 {
		_, err = other.Put(ctx, "old", []byte{byte('0' + i)})
		must(t, err)
		_, err = l.Append(ctx, "entry", fmt.Sprint(i), nil, uint64(i))
		must(t, err)
	}
	s.want(t, "old=4")
	f, err := l.Follow(ctx, "entry", 1)
	must(t, err)
	for range 5 {
		_, err = f.Next(ctx)
		must(t, err)
	}
	held, err := bus.AcquireLease(ctx, b, "lease", "near", 15*time.Second)
	must(t, err)

	time.Sleep(time.Until(time.Unix(int64(before)+1, 0))) // epochs begin anew at the present second
	d.to(func() error { return os.RemoveAll(d.dir) })
	eventually(t, func() error {
		made, err := near.Restore(ctx)
		if err == nil && len(made) != 3 {
			err = fmt.Errorf("made %v anew, want three", made)
		}
		return err
	})
	if made, err := near.Restore(ctx); err != nil || len(made) != 0 {
		t.Errorf("made %v again, %v", made, err)
	}
	s.wantAnew(t)
	_, err = other.Put(ctx, "new", []byte("1"))
	must(t, err)
	s.want(t, "new=1")
	_, err = l.Append(ctx, "entry", "first", nil, 0)
	must(t, err)
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r, err := f.Next(bound); !errors.Is(err, bus.ErrAnew) {
		t.Errorf("the follower of the log read %+v, %v", r, err)
	}
	wantErr(t, held.Renew(bound), bus.ErrLeaseLost)
	if after, err := epochs.Next(ctx, "entry"); err != nil || after <= before {
		t.Errorf("the epoch after %d is %d, %v", before, after, err)
	}
}

// TestBusWithoutItsEnd gives the server a disk without the last writes, as a power cut does.
// New writes then take their numbers, some of them or all.
func TestBusWithoutItsEnd(t *testing.T) {
	t.Parallel()
	for name, writes := range map[string]int{"fewer": 1, "more": 20} {
		t.Run(name, func(t *testing.T) {
			d, ctx := newDisk(t), t.Context()
			c := d.connect("c")
			b := openBucket(t, c, bus.BucketConfig{Name: "feeds"})
			s := watchOn(t, b)
			put := func(key string) {
				t.Helper()
				eventually(t, func() error { _, err := b.Put(ctx, key, []byte("x")); return err })
			}
			put("kept")
			s.want(t, "kept=x")
			saved := filepath.Join(t.TempDir(), "saved")
			d.to(func() error { return os.CopyFS(saved, os.DirFS(d.dir)) })
			for i := range 5 {
				put(fmt.Sprint("lost", i))
			}
			s.want(t, "lost4=x")
			d.to(func() error { return errors.Join(os.RemoveAll(d.dir), os.CopyFS(d.dir, os.DirFS(saved))) })
			for i := range writes {
				put(fmt.Sprint("new", i))
			}
			s.wantAnew(t)
			s.want(t, fmt.Sprintf("new%d=x", writes-1))
			if len(s.anew) != 0 {
				t.Error("the bucket was called another one twice")
			}
		})
	}
}
