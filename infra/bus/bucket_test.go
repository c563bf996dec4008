package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
)

// bubble runs a test with a memory node in virtual time.
func bubble(t *testing.T, run func(t *testing.T, n *bus.Node)) {
	t.Helper()
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		n := bustest.StartNode(t)
		// A server that ends sleeps with a lock in its hand: what it was asked has to be done before, or time stands still.
		t.Cleanup(synctest.Wait)
		run(t, n)
	})
}

func openBucket(t *testing.T, c *bus.Control, config bus.BucketConfig) *bus.Bucket {
	t.Helper()
	b, err := c.Bucket(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestBucketConditions(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "feeds"})
		_, err := b.Get(ctx, "a")
		wantErr(t, err, bus.ErrNotFound)
		first, err := b.Create(ctx, "a", []byte("1"), 0)
		must(t, err)
		_, err = b.Create(ctx, "a", []byte("2"), 0)
		wantErr(t, err, bus.ErrConflict)
		second, err := b.Update(ctx, "a", []byte("2"), first)
		must(t, err)
		_, err = b.Update(ctx, "a", []byte("3"), first)
		wantErr(t, err, bus.ErrConflict)
		_, err = b.Update(ctx, "a", []byte("3"), 0)
		wantErr(t, err, bus.ErrInvalid)
		wantErr(t, b.Delete(ctx, "a", first), bus.ErrConflict)
		kv, err := b.Get(ctx, "a")
		must(t, err)
		if string(kv.Value) != "2" || kv.Revision != second || second <= first || !kv.At.Equal(time.Now()) {
			t.Errorf("got %q revision %d at %v", kv.Value, kv.Revision, kv.At)
		}
		must(t, b.Delete(ctx, "a", second))
		_, err = b.Get(ctx, "a")
		wantErr(t, err, bus.ErrNotFound)
		_, err = b.Update(ctx, "a", []byte("3"), second)
		wantErr(t, err, bus.ErrConflict)
		third, err := b.Create(ctx, "a", []byte("3"), 0)
		must(t, err)
		if third <= second {
			t.Errorf("revision %d after %d", third, second)
		}
		must(t, b.Delete(ctx, "unknown", 0))
	})
}

func TestBucketLifetimes(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "feeds", TTL: 5 * time.Second})
		_, err := b.Put(ctx, "bucket", []byte("x"))
		must(t, err)
		_, err = b.PutTTL(ctx, "own", []byte("x"), 20*time.Second)
		must(t, err)
		rev, err := b.Create(ctx, "renewed", []byte("x"), 0)
		must(t, err)
		for range 10 {
			time.Sleep(3 * time.Second)
			rev, err = b.Update(ctx, "renewed", []byte("x"), rev)
			must(t, err)
			_, err = b.Get(ctx, "bucket")
			if gone := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) >= 6*time.Second; gone != errors.Is(err, bus.ErrNotFound) {
				t.Fatalf("after %v: %v", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), err)
			}
		}
		_, err = b.Get(ctx, "own")
		wantErr(t, err, bus.ErrNotFound)
		time.Sleep(6 * time.Second)
		_, err = b.Update(ctx, "renewed", []byte("x"), rev)
		wantErr(t, err, bus.ErrConflict)
		_, err = b.Create(ctx, "renewed", []byte("x"), 0)
		must(t, err)
		time.Sleep(3 * time.Hour) // every marker is gone too
		again, err := b.Create(ctx, "renewed", []byte("y"), 0)
		must(t, err)
		if again <= rev {
			t.Errorf("revision %d after %d", again, rev)
		}
		_, err = b.PutTTL(ctx, "odd", nil, 1500*time.Millisecond)
		wantErr(t, err, bus.ErrInvalid)
	})
}

func TestBucketKeys(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "keys"})
		keys := []string{"0_abc", "feed.0_abc.1", "feed.*.1", "feed.>", "a b\nc=20", "grüße.$JS", "x/y=", "="}
		for _, key := range keys {
			_, err := b.Put(ctx, key, []byte(key))
			must(t, err)
			kv, err := b.Get(ctx, key)
			must(t, err)
			if kv.Key != key || string(kv.Value) != key {
				t.Errorf("key %q came back as %q", key, kv.Key)
			}
		}
		for pattern, want := range map[string][]string{
			"":         {"0_abc", "=", "a b\nc=20", "feed.*.1", "feed.0_abc.1", "feed.>", "grüße.$JS", "x/y="},
			"feed.>":   {"feed.*.1", "feed.0_abc.1", "feed.>"},
			"feed.*.1": {"feed.*.1", "feed.0_abc.1"},
			"*":        {"0_abc", "=", "a b\nc=20", "x/y="},
			"nothing":  nil,
		} {
			list, err := b.List(ctx, pattern)
			must(t, err)
			var got []string
			for _, kv := range list {
				got = append(got, kv.Key)
			}
			if !slices.Equal(got, want) {
				t.Errorf("pattern %q lists %q, want %q", pattern, got, want)
			}
		}
		for _, key := range []string{"", ".", "a.", ".a", "a..b", string(make([]byte, 257)), "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"} {
			_, err := b.Put(ctx, key, nil)
			wantErr(t, err, bus.ErrInvalid)
			_, err = b.Get(ctx, key)
			wantErr(t, err, bus.ErrInvalid)
		}
		_, err := b.Put(ctx, "large", make([]byte, bus.MaxValueBytes+1))
		wantErr(t, err, bus.ErrTooLarge)
		_, err = b.Put(ctx, "large", bytes.Repeat([]byte{1}, bus.MaxValueBytes))
		must(t, err)
		_, err = n.Control().Bucket(ctx, bus.BucketConfig{Name: "not.a.name"})
		wantErr(t, err, bus.ErrInvalid)
	})
}

func TestBucketFull(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "small", MaxBytes: 10_000})
		var err error
		kept := 0
		for ; err == nil && kept < 100; kept++ {
			_, err = b.Put(t.Context(), fmt.Sprint("key", kept), make([]byte, 1000))
		}
		wantErr(t, err, bus.ErrFull)
		if _, err := b.Get(t.Context(), "key0"); err != nil {
			t.Errorf("a full bucket dropped its first key: %v", err)
		}
	})
}

func nextChange(t *testing.T, w *bus.Watcher) bus.Change {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	change, err := w.Next(ctx)
	must(t, err)
	return change
}

func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "watched"})
		other := openBucket(t, bustest.Connect(t, n, "other"), bus.BucketConfig{Name: "watched"})
		for _, key := range []string{"feed.a", "feed.b", "lease.a"} {
			_, err := b.Put(ctx, key, []byte("old"))
			must(t, err)
		}
		_, err := b.Put(ctx, "feed.a", []byte("new"))
		must(t, err)
		w, err := other.Watch(ctx, "feed.*")
		must(t, err)
		defer w.Close()
		first, second := nextChange(t, w), nextChange(t, w)
		if first.Key != "feed.b" || string(first.Value) != "old" || second.Key != "feed.a" || string(second.Value) != "new" {
			t.Errorf("initial values: %+v, %+v", first, second)
		}
		if done := nextChange(t, w); !done.InitialDone || done.Key != "" {
			t.Errorf("got %+v, want the end of the initial values", done)
		}
		rev, err := b.PutTTL(ctx, "feed.c", []byte("x"), 2*time.Second)
		must(t, err)
		if c := nextChange(t, w); c.Key != "feed.c" || string(c.Value) != "x" || c.Revision != rev || c.Deleted {
			t.Errorf("a new key: %+v", c)
		}
		before := time.Now()
		if c := nextChange(t, w); c.Key != "feed.c" || !c.Deleted || c.Value != nil {
			t.Errorf("an expired key: %+v", c)
		}
		if late := time.Since(before); late < 2*time.Second || late > 3*time.Second {
			t.Errorf("a lifetime of 2 s ended after %v", late)
		}
		must(t, b.Delete(ctx, "feed.a", 0))
		if c := nextChange(t, w); c.Key != "feed.a" || !c.Deleted {
			t.Errorf("a deleted key: %+v", c)
		}
		time.Sleep(check.Length(12*time.Hour, 4*time.Hour)) // idle connections and markers come and go unseen
		_, err = b.Put(ctx, "feed.d", nil)
		must(t, err)
		if c := nextChange(t, w); c.Key != "feed.d" {
			t.Errorf("after a long pause: %+v", c)
		}
		time.AfterFunc(time.Second, w.Close)
		_, err = w.Next(ctx)
		wantErr(t, err, bus.ErrClosed)
	})
}

func TestWatchEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "empty"})
		w, err := b.Watch(t.Context(), "")
		must(t, err)
		if c := nextChange(t, w); !c.InitialDone {
			t.Errorf("an empty bucket: %+v", c)
		}
		n.Control().Close()
		_, err = w.Next(t.Context())
		wantErr(t, err, bus.ErrClosed)
		_, err = b.Watch(t.Context(), "")
		wantErr(t, err, bus.ErrClosed)
	})
}

func TestNextIsNeverTwice(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		const counters, each = 4, 25
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			seen = make(map[uint64]bool)
		)
		for i := range counters {
			b := openBucket(t, bustest.Connect(t, n, fmt.Sprint(i)), bus.BucketConfig{Name: "epochs"})
			wg.Go(func() {
				last := uint64(0)
				for range each {
					got, err := b.Next(t.Context(), "0_abc")
					if err != nil || got <= last {
						t.Errorf("number %d after %d: %v", got, last, err)
						return
					}
					last = got
					mu.Lock()
					if seen[got] {
						t.Errorf("number %d was given twice", got)
					}
					seen[got] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != counters*each {
			t.Errorf("%d numbers given, want %d", len(seen), counters*each)
		}
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "epochs"})
		_, err := b.Put(t.Context(), "text", []byte("abc"))
		must(t, err)
		_, err = b.Next(t.Context(), "text")
		wantErr(t, err, bus.ErrInvalid)
		_, err = openBucket(t, n.Control(), bus.BucketConfig{Name: "short", TTL: time.Second}).Next(t.Context(), "a")
		wantErr(t, err, bus.ErrInvalid)
	})
}

func TestLastingCounter(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		b := openBucket(t, n.Control(), bus.BucketConfig{Name: "counters", Lasting: true})
		var last uint64
		for range 3 {
			next, err := b.Next(t.Context(), "a")
			must(t, err)
			if next <= last || next < uint64(time.Now().Unix()) {
				t.Errorf("number %d after %d", next, last)
			}
			last = next
		}
		kv, err := b.Get(t.Context(), "a")
		must(t, err)
		must(t, b.Delete(t.Context(), "a", kv.Revision))
		time.Sleep(10 * time.Second)
		next, err := b.Next(t.Context(), "a")
		must(t, err)
		if next <= last {
			t.Errorf("a counter that was lost goes on with %d, it had reached %d", next, last)
		}
	})
}
