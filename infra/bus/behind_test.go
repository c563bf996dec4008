package bus

import (
	"context"
	"errors"
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
	first, err := b.Put(t.Context(), "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.last(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key    string
		last   uint64
		behind *jetstream.RawStreamMsg
		err    error
	}{"an update": {"a", first, old, nil}, "the first": {"b", 0, nil, ErrNotFound}} {
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
// from a server that is behind: the lease is not lost for that.
func TestLeaseReadFromBehind(t *testing.T) {
	b := startBucket(t)
	l, err := AcquireLease(t.Context(), b, "entry", "me", 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// unheard stores one, and has it read so many times as if it were not there.
	unheard := func(reads int) {
		t.Helper()
		before, err := b.Get(t.Context(), "entry")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.UpdateTTL(t.Context(), "entry", l.value, before.Revision, 15*time.Second); err != nil {
			t.Fatal(err)
		}
		l.read = func(ctx context.Context, key string) (KeyValue, error) {
			if reads--; reads >= 0 {
				return before, nil
			}
			return b.Get(ctx, key)
		}
	}
	unheard(behindFor)
	if err := l.Renew(t.Context()); err != nil {
		t.Fatalf("renewing: %v", err)
	}
	unheard(1000)
	if err := l.Renew(t.Context()); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLeaseLost) {
		t.Fatalf("while it stays behind: %v", err)
	}
	unheard(behindFor)
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("giving it back: %v", err)
	}
	if kv, err := b.Get(t.Context(), "entry"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is still there: %+v, %v", kv, err)
	}
}
