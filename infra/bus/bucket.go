package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultBucketBytes = 16 << 20

	// markerLife is how long a bucket remembers that a key was deleted or expired,
	// so that a watcher that was away for less still learns of it.
	markerLife = time.Hour

	// nextTries bounds the attempts of [Bucket.Next] against other counters.
	nextTries = 100
)

// Headers of the key-value convention of NATS.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	operationPurge  = "PURGE"
	operationDelete = "DEL"
)

// BucketConfig is what [Control.Bucket] needs. Whoever opens a bucket must say
// the same as whoever made it, except for MaxBytes.
type BucketConfig struct {
	// Name is letters, digits, - and _.
	Name string
	// TTL is how long a value lives after its last write, in whole seconds, unless
	// that write says otherwise; 0 means for ever.
	TTL time.Duration
	// Memory keeps the bucket in memory: faster, gone when the servers restart.
	Memory bool
	// MaxBytes bounds the bucket; when it is full, writes fail with [ErrFull] and
	// nothing is dropped. 0 means 16 MiB.
	MaxBytes int64
	// Lasting counters begin at the present Unix second instead of 1, and so go on above
	// those whose bucket was lost.
	Lasting bool
}

// Bucket is a set of keys with one value each. A key is parts joined by dots; the
// parts may hold any bytes but dots. Every write gives the key a new revision;
// revisions grow over the whole bucket and are not used twice, for as long as the bus does not
// lose the bucket: watchers end with [ErrAnew] then.
//
// In a cluster, reads may lag behind writes by a moment; conditions never do.
// Buckets are NATS key-value buckets, so the nats command line tool shows them.
type Bucket struct {
	control *Control
	name    string
	ttl     time.Duration
	lasting bool
	stream  jetstream.Stream
}

// KeyValue is a key with its value.
type KeyValue struct {
	Key      string
	Value    []byte
	Revision uint64
	At       time.Time // when the value was written
}

// Bucket opens a bucket and makes it if need be.
func (c *Control) Bucket(ctx context.Context, config BucketConfig) (*Bucket, error) {
	if err := checkName(config.Name); err != nil {
		return nil, err
	}
	if err := checkTTL(config.TTL); err != nil {
		return nil, err
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = defaultBucketBytes
	}
	name := "KV_" + config.Name
	b := &Bucket{control: c, name: config.Name, ttl: config.TTL, lasting: config.Lasting}
	settle := func(ctx context.Context) error {
		_, err := c.settle(ctx, name, c.replicas, c.bucketMaker(config))
		return err
	}
	if err := settle(ctx); err != nil {
		return nil, busError("open bucket "+config.Name, err)
	}
	err := open(ctx, func(ctx context.Context) (err error) {
		b.stream, err = c.js.Stream(ctx, name)
		return err
	})
	if err != nil {
		return nil, busError("open bucket "+config.Name, err)
	}
	c.opened(name, opened{subject: "$KV." + config.Name + ".leader", settle: settle})
	return b, nil
}

func (c *Control) bucketMaker(config BucketConfig) streamMaker {
	with := func(replicas int) jetstream.KeyValueConfig {
		return jetstream.KeyValueConfig{
			Bucket:         config.Name,
			MaxValueSize:   MaxValueBytes + 4096, // the value and its headers
			History:        1,
			MaxBytes:       config.MaxBytes,
			Storage:        c.storage(config.Memory),
			Replicas:       replicas,
			LimitMarkerTTL: markerLife,
		}
	}
	return streamMaker{
		create: func(ctx context.Context, replicas int) error {
			_, err := c.js.CreateKeyValue(ctx, with(replicas))
			return err
		},
		update: func(ctx context.Context, replicas int) error {
			_, err := c.js.UpdateKeyValue(ctx, with(replicas))
			return err
		},
	}
}

// checkTTL checks a lifetime: the server counts in whole seconds.
func checkTTL(ttl time.Duration) error {
	if ttl < 0 || ttl%time.Second != 0 {
		return fmt.Errorf("%w: lifetime %v: want whole seconds, or 0 for ever", ErrInvalid, ttl)
	}
	return nil
}

// Get returns a key's value, or [ErrNotFound].
func (b *Bucket) Get(ctx context.Context, key string) (KeyValue, error) {
	raw, err := b.last(ctx, key)
	if err == nil && removed(raw.Header) {
		err = fmt.Errorf("%w: %s in bucket %s", ErrNotFound, key, b.name)
	}
	if err != nil {
		return KeyValue{}, err
	}
	return KeyValue{Key: key, Value: raw.Data, Revision: raw.Sequence, At: raw.Time}, nil
}

// last returns what the bucket holds last under a key, a removal's marker included.
func (b *Bucket) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	wire, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var raw *jetstream.RawStreamMsg
	err = b.control.insist(ctx, func(ctx context.Context) (err error) {
		raw, err = b.stream.GetLastMsgForSubject(ctx, b.subject(wire))
		return err
	})
	if err != nil {
		return nil, busError(fmt.Sprintf("get %s from bucket %s", key, b.name), err)
	}
	return raw, nil
}

// Put writes a value whatever was there, with the bucket's lifetime.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	return b.write(ctx, key, value, 0, nil)
}

// PutTTL is Put with a lifetime of its own; 0 means the bucket's.
func (b *Bucket) PutTTL(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error) {
	return b.write(ctx, key, value, ttl, nil)
}

// Create writes a value if the key has none, otherwise it returns [ErrConflict].
// A ttl of 0 means the bucket's.
func (b *Bucket) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error) {
	revision, err = b.write(ctx, key, value, ttl, b.at(key, 0))
	if !errors.Is(err, ErrConflict) {
		return revision, err
	}
	// What stands in the way may be the marker of a value that is gone.
	raw, getErr := b.last(ctx, key)
	if getErr != nil || !removed(raw.Header) {
		return 0, err
	}
	return b.write(ctx, key, value, ttl, b.at(key, raw.Sequence))
}

// Update writes a value if the key's revision is still the given one, otherwise
// it returns [ErrConflict]. The lifetime starts anew and is the bucket's.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	return b.UpdateTTL(ctx, key, value, revision, 0)
}

// UpdateTTL is Update with a lifetime of its own; 0 means the bucket's.
func (b *Bucket) UpdateTTL(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (next uint64, err error) {
	if revision == 0 {
		return 0, fmt.Errorf("%w: update of %s needs a revision: use Create for a new key", ErrInvalid, key)
	}
	return b.write(ctx, key, value, ttl, b.at(key, revision))
}

// Delete removes a key if its revision is still the given one, otherwise it
// returns [ErrConflict]; revision 0 removes it whatever it is. A key that is not
// there is no error with revision 0.
func (b *Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	m := &nats.Msg{Header: nats.Header{headerOperation: {operationPurge}}}
	var when *condition
	if revision > 0 {
		when = b.at(key, revision)
	}
	_, err := b.publish(ctx, "delete", key, m, when, jetstream.WithMsgTTL(markerLife))
	return err
}

// Next raises the number under a key and returns it, from 1 (see
// [BucketConfig.Lasting]): no number is ever returned twice, though some may be skipped. It cannot be used in a bucket whose
// values expire, and starts anew when the key is deleted.
func (b *Bucket) Next(ctx context.Context, key string) (uint64, error) {
	return b.NextAbove(ctx, key, 0)
}

// NextAbove is Next that raises the number above floor at least.
func (b *Bucket) NextAbove(ctx context.Context, key string, floor uint64) (uint64, error) {
	if b.ttl > 0 {
		return 0, fmt.Errorf("%w: bucket %s has a lifetime: a counter in it would start again", ErrInvalid, b.name)
	}
	for range nextTries {
		n, err := b.tryNext(ctx, key, floor)
		if !errors.Is(err, ErrConflict) {
			return n, err
		}
	}
	return 0, fmt.Errorf("%w: counter %s in bucket %s: %d others were faster", ErrConflict, key, b.name, nextTries)
}

func (b *Bucket) tryNext(ctx context.Context, key string, floor uint64) (uint64, error) {
	kv, err := b.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		first := floor + 1
		if b.lasting {
			first = max(first, uint64(time.Now().Unix()))
		}
		_, err := b.Create(ctx, key, strconv.AppendUint(nil, first, 10), 0)
		return first, err
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(kv.Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s in bucket %s holds no number: delete it or use another key", ErrInvalid, key, b.name)
	}
	n = max(n, floor) + 1
	_, err = b.Update(ctx, key, strconv.AppendUint(nil, n, 10), kv.Revision)
	return n, err
}

// List returns the keys that match a pattern, sorted, with their values. In a
// pattern the part * stands for any one part, a last part > for one or more; the
// empty pattern means every key.
func (b *Bucket) List(ctx context.Context, pattern string) ([]KeyValue, error) {
	w, err := b.Watch(ctx, pattern)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	found := map[string]KeyValue{} // a key that changes meanwhile comes again
	for {
		change, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		if change.InitialDone {
			break
		}
		if change.Deleted {
			delete(found, change.Key)
		} else {
			found[change.Key] = change.KeyValue
		}
	}
	return slices.SortedFunc(maps.Values(found), func(x, y KeyValue) int { return strings.Compare(x.Key, y.Key) }), nil
}

func (b *Bucket) subject(wire string) string { return "$KV." + b.name + "." + wire }

// at is the condition that a key's revision is the given one; 0: that it was never written.
func (b *Bucket) at(key string, revision uint64) *condition {
	return &condition{revision, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return b.last(ctx, key) }}
}

func (b *Bucket) write(ctx context.Context, key string, value []byte, ttl time.Duration, when *condition) (uint64, error) {
	if err := checkTTL(ttl); err != nil {
		return 0, err
	}
	if len(value) > MaxValueBytes {
		return 0, fmt.Errorf("%w: %s in bucket %s: %d bytes, at most %d", ErrTooLarge, key, b.name, len(value), MaxValueBytes)
	}
	if ttl == 0 {
		ttl = b.ttl
	}
	var opts []jetstream.PublishOpt
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	return b.publish(ctx, "write", key, &nats.Msg{Data: value}, when, opts...)
}

func (b *Bucket) publish(ctx context.Context, doing, key string, m *nats.Msg, when *condition, opts ...jetstream.PublishOpt) (uint64, error) {
	wire, err := encodeKey(key)
	if err != nil {
		return 0, err
	}
	m.Subject = b.subject(wire)
	ctx, cancel := bounded(ctx)
	defer cancel()
	revision, err := b.control.publish(ctx, m, headerWrite, rand.Text(), when, opts...)
	return revision, busError(fmt.Sprintf("%s %s in bucket %s", doing, key, b.name), err)
}
