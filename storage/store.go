// Package storage is the port to the place where media, timelines and playlists rest.
// Keys are URL paths. Engines live below it (disk, s3) and pass one conformance suite.
package storage

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store is an object store with conditional writes. All methods are safe for concurrent
// use. Keys follow the grammar of [CheckKey]; other keys give ErrKey. That no key is both
// an object and a folder of others is the caller's care.
type Store interface {
	// Put writes an object whole: readers see the old or the new one. The pieces of data are
	// written in order and not kept. ErrPrecondition when opt's condition does not hold.
	Put(ctx context.Context, key string, data [][]byte, opt PutOptions) (Info, error)
	// Get opens an object, or the given range of it. ErrNotFound when there is none, ErrRange
	// when the range begins behind the end. The caller closes the reader.
	Get(ctx context.Context, key string, r *Range) (io.ReadCloser, Info, error)
	// List returns at most limit objects under prefix in key order, after the given key.
	List(ctx context.Context, prefix, after string, limit int) ([]Info, error)
	// Delete removes objects; those that are not there count as removed.
	Delete(ctx context.Context, keys ...string) error
}

// PutOptions go with a write.
type PutOptions struct {
	ContentType  string
	CacheControl string
	// IfAbsent writes only when there is no object under the key.
	IfAbsent bool
	// IfMatch writes only when the present object has this ETag; empty means no condition.
	IfMatch string
}

// Range is a part of an object: Length bytes from Offset; Length < 0 means to the end.
type Range struct {
	Offset, Length int64
}

// Info describes an object.
type Info struct {
	Key          string
	Size         int64     // of the whole object
	ETag         string    // of buckets, two writes of the same bytes may share one
	Modified     time.Time // of whole seconds where the store tells no more; zero from a Put to a bucket
	ContentType  string    // from Get only
	CacheControl string    // from Get only; engines that only an origin reads leave it empty
}

// ErrNotFound is returned when there is no object under a key.
var ErrNotFound = errors.New("storage: no such object")

// ErrPrecondition is returned when a conditional write's condition does not hold.
var ErrPrecondition = errors.New("storage: precondition failed")

// ErrKey is returned for keys outside the grammar.
var ErrKey = errors.New("storage: malformed key")

// ErrRange is returned when a range begins behind the object's end.
var ErrRange = errors.New("storage: range not satisfiable")

// ErrFull is returned when the store has no space left; make room or raise the limit.
var ErrFull = errors.New("storage: no space left")
