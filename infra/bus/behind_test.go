package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// behindFor are the reads that a server answers which is behind.
const behindFor = 3

func startBucket(t *testing.T) *Bucket {
	t.Helper()
	n, err := StartNode(t.Context(), NodeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	b, err := n.Control().Bucket(t.Context(), BucketConfig{Name: "leases"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRepeatReadFromBehind sends a write again that was stored though its answer was lost. A server that is
// behind and does not have it yet makes it no conflict.
func TestRepeatReadFromBehind(t *testing.T) {
	b := startBucket(t)
	put := func(key string) *jetstream.RawStreamMsg {
		t.Helper()
		if _, err := b.Put(t.Context(), key, []byte("1")); err != nil {
			t.Fatal(err)
		}
		raw, err := b.last(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	one, two, three := put("a"), put("b"), put("b")
	for name, c := range map[string]struct {
		key    string
		last   uint64
		behind *jetstream.RawStreamMsg
		err    error
	}{"an update": {"a", one.Sequence, one, nil}, "further behind": {"b", three.Sequence, two, nil}, "the first": {"c", 0, nil, ErrNotFound}} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			write := func() (uint64, error) {
				when := &condition{c.last, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
					if reads++; reads <= behindFor {
						return c.behind, c.err
					}
					return b.last(ctx, c.key)
				}}
				m := &nats.Msg{Subject: b.subject(c.key), Data: []byte("2")}
				return b.control.publish(t.Context(), m, headerWrite, "mine "+c.key, when)
			}
			stored, err := write()
			if err != nil || reads > 0 {
				t.Fatalf("%v, %d reads", err, reads)
			}
			if again, err := write(); err != nil || again != stored {
				t.Errorf("the repeat is number %d, %v; it was stored as %d", again, err, stored)
			}
			if reads != behindFor+1 {
				t.Errorf("%d reads", reads)
			}
		})
	}
}

// TestLeaseReadFromBehind has renewals stored of whose answer the holder never hears, and their record read
// from a server that is behind: the lease is not lost for that, also where it has the holder before this one.
func TestLeaseReadFromBehind(t *testing.T) {
	b := startBucket(t)
	if _, err := b.Put(t.Context(), "entry", []byte(`{"version":1,"holder":"other","grip":"theirs"}`)); err != nil {
		t.Fatal(err)
	}
	get := func() KeyValue {
		t.Helper()
		kv, err := b.Get(t.Context(), "entry")
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	theirs := get()
	l, err := newLease(b, "entry", "me", 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards the two below
	var behind KeyValue
	reads := 0 // that are answered with it
	l.read = func(ctx context.Context, key string) (KeyValue, error) {
		mu.Lock()
		defer mu.Unlock()
		if reads--; reads >= 0 {
			return behind, nil
		}
		return b.Get(ctx, key)
	}
	// unheard stores one, and has so many reads answered with what was there before.
	unheard := func(before KeyValue, n int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		behind, reads = before, n
		if _, err := b.UpdateTTL(t.Context(), "entry", l.value, get().Revision, 15*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if l.revision, err = b.UpdateTTL(t.Context(), "entry", l.value, theirs.Revision, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	if l, err = l.keep(time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, before := range []KeyValue{get(), theirs} {
		unheard(before, behindFor)
		if err := l.Renew(t.Context()); err != nil {
			t.Fatalf("renewing: %v", err)
		}
	}
	unheard(get(), 1000)
	if err := l.Renew(t.Context()); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLeaseLost) {
		t.Fatalf("while it stays behind: %v", err)
	}
	unheard(get(), behindFor)
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("giving it back: %v", err)
	}
	if kv, err := b.Get(t.Context(), "entry"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is still there: %+v, %v", kv, err)
	}
}
