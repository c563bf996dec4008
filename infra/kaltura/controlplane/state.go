package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"klive/infra/bus"
)

// State is where the server keeps its documents: a key-value store with revisions.
// Missing keys are bus.ErrNotFound, failed conditions bus.ErrConflict.
type State interface {
	// Get returns the value under key and its revision.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Create writes a key that must not exist.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update replaces the value that has the given revision.
	Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error)
	// Delete removes a key whatever its revision; a missing key is no error.
	Delete(ctx context.Context, key string) error
	// Keys lists the keys that start with prefix, in any order.
	Keys(ctx context.Context, prefix string) ([]string, error)
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
	raw, _, err := s.Get(ctx, key)
	if err != nil {
		var zero T
		return zero, err
	}
	return decodeDocument[T](key, raw)
}

// create writes a new document. Errors: bus.ErrConflict when the key exists.
func create(ctx context.Context, s State, key string, v any) error {
	raw, err := encodeDocument(v)
	if err != nil {
		return err
	}
	_, err = s.Create(ctx, key, raw)
	return err
}

// change applies f to the document under key until no other writer came between, and
// returns what was stored. When f returns errKeep nothing is written and the document
// is returned as f left it; any other error of f ends the change.
func change[T any](ctx context.Context, s State, key string, f func(*T) error) (T, error) {
	var zero T
	for range maxAttempts {
		raw, revision, err := s.Get(ctx, key)
		if err != nil {
			return zero, err
		}
		v, err := decodeDocument[T](key, raw)
		if err != nil {
			return zero, err
		}
		if err := f(&v); errors.Is(err, errKeep) {
			return v, nil
		} else if err != nil {
			return zero, err
		}
		if raw, err = encodeDocument(v); err != nil {
			return zero, err
		}
		if _, err = s.Update(ctx, key, raw, revision); err == nil {
			return v, nil
		} else if !errors.Is(err, bus.ErrConflict) {
			return zero, err
		}
	}
	return zero, fmt.Errorf("control plane state %s: too many writers at once: %w", key, bus.ErrConflict)
}

// loadAll reads every document under a prefix. Documents that vanish while it reads
// are left out.
func loadAll[T any](ctx context.Context, s State, prefix string) ([]T, error) {
	keys, err := s.Keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(keys))
	for _, key := range keys {
		v, err := load[T](ctx, s, key)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
