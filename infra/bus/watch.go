package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Change is what happened to a key.
type Change struct {
	// KeyValue has the new value; with Deleted it has none.
	KeyValue
	// Deleted says that the key is gone: deleted, or by its lifetime.
	Deleted bool
	// InitialDone marks that everything that was there when the watch began has been
	// returned. It comes once, alone, with no key.
	InitialDone bool
}

// Watcher returns the changes of a bucket's keys, in order. It goes on over
// reconnects, but not over the loss of the bucket. It is not safe for concurrent use.
type Watcher struct {
	bucket *Bucket
	pump   *pump
}

// Watch returns every key that matches pattern as it is now, then a marker, then
// every change. Of several quick changes to a key only the last may be seen.
// ctx bounds the opening only. The pattern is as in [Bucket.List].
func (b *Bucket) Watch(ctx context.Context, pattern string) (*Watcher, error) {
	wire, err := encodePattern(pattern)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	p, err := b.control.openPump(ctx, b.stream, b.subject(wire), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return nil, busError("watch "+pattern+" in bucket "+b.name, err)
	}
	return &Watcher{bucket: b, pump: p}, nil
}

// Next waits for the next change. It returns [ErrClosed] once the watcher or its
// connection was closed, and [ErrAnew] once the bucket is another one.
func (w *Watcher) Next(ctx context.Context) (Change, error) {
	m, err := w.pump.next(ctx)
	if err != nil {
		return Change{}, err
	}
	if m.Msg == nil {
		return Change{InitialDone: true}, nil
	}
	change := Change{KeyValue: KeyValue{
		Key:      decodeKey(strings.TrimPrefix(m.Subject, w.bucket.subject(""))),
		Revision: m.meta.Sequence.Stream,
		At:       m.meta.Timestamp,
	}}
	if change.Deleted = removed(m.Header); !change.Deleted {
		change.Value = m.Data
	}
	return change, nil
}

// Close ends the watcher and wakes a waiting Next.
func (w *Watcher) Close() { w.pump.stop() }

// removed says whether a message is the marker of a value that is gone.
func removed(h nats.Header) bool {
	op := h.Get(headerOperation)
	return op == operationPurge || op == operationDelete || h.Get(headerMarker) != ""
}
