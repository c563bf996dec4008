package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"klive/infra/bus"
)

// State is where the server keeps its documents: keys with revisions, in a bucket
// without lifetime. *bus.Bucket is one; see there for the errors and for patterns.
type State interface {
	Get(ctx context.Context, key string) (bus.KeyValue, error)
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	Delete(ctx context.Context, key string, revision uint64) error
	List(ctx context.Context, pattern string) ([]bus.KeyValue, error)
	// Next counts a key on, from 1.
	Next(ctx context.Context, key string) (uint64, error)
}

// documentVersion is written into every document. A reader refuses a newer one.
const documentVersion = 1

// document is the stored form around each value.
type document struct {
	V    int             `json:"v"`
	Data json.RawMessage `json:"data"`
}

// errKeep is returned by a change function that leaves the document as it is.
var errKeep = errors.New("controlplane: document unchanged")

// maxAttempts bounds a compare-and-set loop. Each failure means that another writer
// succeeded, so more attempts than there are writers of one document are a fault.
const maxAttempts = 64

func decodeDocument[T any](key string, raw []byte) (T, error) {
	var v T
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return v, fmt.Errorf("control plane state %s: %w", key, err)
	}
	if d.V > documentVersion {
		return v, fmt.Errorf("control plane state %s has version %d, this klive reads up to %d: upgrade klive", key, d.V, documentVersion)
	}
	if err := json.Unmarshal(d.Data, &v); err != nil {
		return v, fmt.Errorf("control plane state %s: %w", key, err)
	}
	return v, nil
}

func encodeDocument(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(document{V: documentVersion, Data: data})
}

// load reads one document. Errors: bus.ErrNotFound, the state's own.
func load[T any](ctx context.Context, s State, key string) (T, error) {
	kv, err := s.Get(ctx, key)
	if err != nil {
		var zero T
		return zero, err
	}
	return decodeDocument[T](key, kv.Value)
}

// create writes a new document. Errors: bus.ErrConflict when the key exists.
func create(ctx context.Context, s State, key string, v any) error {
	return createFor(ctx, s, key, v, 0)
}

// createFor is create with a lifetime in whole seconds; 0 is for ever.
func createFor(ctx context.Context, s State, key string, v any, ttl time.Duration) error {
	raw, err := encodeDocument(v)
	if err != nil {
		return err
	}
	_, err = s.Create(ctx, key, raw, ttl)
	return err
}

// change applies f to the document under key until no other writer came between, and
// returns what was stored. When f returns errKeep nothing is written and the document
// is returned as f left it; any other error of f ends the change.
func change[T any](ctx context.Context, s State, key string, f func(*T) error) (T, error) {
	var zero T
	for attempt := range maxAttempts {
		if err := pause(ctx, attempt); err != nil {
			return zero, err
		}
		kv, err := s.Get(ctx, key)
		if err != nil {
			return zero, err
		}
		v, err := decodeDocument[T](key, kv.Value)
		if err != nil {
			return zero, err
		}
		if err := f(&v); errors.Is(err, errKeep) {
			return v, nil
		} else if err != nil {
			return zero, err
		}
		raw, err := encodeDocument(v)
		if err != nil {
			return zero, err
		}
		if _, err = s.Update(ctx, key, raw, kv.Revision); err == nil {
			return v, nil
		} else if !errors.Is(err, bus.ErrConflict) {
			return zero, err
		}
	}
	return zero, fmt.Errorf("control plane state %s: too many writers at once: %w", key, bus.ErrConflict)
}

// pause waits before the repeated attempts of a loop: in a cluster, what another wrote
// may be readable only a moment later.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	timer := time.NewTimer(min(time.Duration(attempt), 20) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loadAll reads every document that a key pattern matches.
func loadAll[T any](ctx context.Context, s State, pattern string) ([]T, error) {
	all, err := s.List(ctx, pattern)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(all))
	for _, kv := range all {
		v, err := decodeDocument[T](kv.Key, kv.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
