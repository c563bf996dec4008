package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"klive/storage"
)

// Memory is a store that forgets. Its Before hook lets a test delay or fail calls.
type Memory struct {
	// Before, when set before the first call, runs ahead of each call; op is "put", "get",
	// "list", "delete" or, for each write of an upload, "upload"; its Commit is a put. Its error becomes the call's.
	Before func(ctx context.Context, op, key string) error
	// After, when set before the first call, runs behind each successful put: its error is
	// what a writer gets whose answer was lost.
	After func(ctx context.Context, op, key string) error

	// mu guards the fields below.
	mu      sync.Mutex
	objects map[string]object
	version uint64
}

type object struct {
	data []byte
	info storage.Info
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{objects: map[string]object{}} }

func (m *Memory) before(ctx context.Context, op, key string) error {
	if err := storage.CheckKey(key); err != nil && op != "list" {
		return err
	}
	if m.Before != nil {
		if err := m.Before(ctx, op, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Put implements [storage.Store].
func (m *Memory) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := m.before(ctx, "put", key); err != nil {
		return storage.Info{}, err
	}
	info, err := m.put(key, data, opt)
	if err == nil && m.After != nil {
		err = m.After(ctx, "put", key)
	}
	return info, err
}

func (m *Memory) put(key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.objects[key]
	if (opt.IfAbsent && ok) || (opt.IfMatch != "" && old.info.ETag != opt.IfMatch) {
		return storage.Info{}, fmt.Errorf("%s: %w", key, storage.ErrPrecondition)
	}
	m.version++
	o := object{data: bytes.Join(data, nil)}
	o.info = storage.Info{
		Key: key, Size: int64(len(o.data)), ETag: `"` + strconv.FormatUint(m.version, 10) + `"`, Modified: time.Now(),
		ContentType: opt.ContentType, CacheControl: opt.CacheControl,
	}
	m.objects[key] = o
	return o.info, nil
}

// Get implements [storage.Store].
func (m *Memory) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := m.before(ctx, "get", key); err != nil {
		return nil, storage.Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, storage.Info{}, fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	data := o.data
	if r != nil {
		if r.Offset < 0 || r.Offset >= int64(len(data)) {
			return nil, storage.Info{}, fmt.Errorf("%s: %w", key, storage.ErrRange)
		}
		data = data[r.Offset:]
		if r.Length >= 0 && r.Length < int64(len(data)) {
			data = data[:r.Length]
		}
	}
	return io.NopCloser(bytes.NewReader(data)), o.info, nil
}

// List implements [storage.Store].
func (m *Memory) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	if err := m.before(ctx, "list", prefix); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []storage.Info
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			info := o.info
			info.ContentType, info.CacheControl = "", ""
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b storage.Info) int { return strings.Compare(a.Key, b.Key) })
	return out[:max(0, min(limit, len(out)))], nil
}

// Delete implements [storage.Store].
func (m *Memory) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := m.before(ctx, "delete", key); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.objects, key)
	}
	return nil
}

// Upload implements [storage.Uploader].
func (m *Memory) Upload(ctx context.Context, key string, opt storage.PutOptions) (storage.Upload, error) {
	if err := m.before(ctx, "upload", key); err != nil {
		return nil, err
	}
	return &memoryUpload{store: m, ctx: ctx, key: key, opt: opt}, nil
}

// memoryUpload gathers what is written.
type memoryUpload struct {
	store *Memory
	ctx   context.Context
	key   string
	opt   storage.PutOptions
	data  []byte
	over  bool
	err   error
}

// Write implements [storage.Upload].
func (u *memoryUpload) Write(p []byte) (int, error) {
	if u.over {
		return 0, storage.ErrUploadOver
	}
	if u.err == nil {
		u.err = u.store.before(u.ctx, "upload", u.key)
	}
	if u.err != nil {
		return 0, u.err
	}
	u.data = append(u.data, p...)
	return len(p), nil
}

// Commit implements [storage.Upload].
func (u *memoryUpload) Commit(ctx context.Context) (storage.Info, error) {
	if u.over {
		return storage.Info{}, storage.ErrUploadOver
	}
	u.over = true
	if u.err == nil {
		u.err = u.ctx.Err()
	}
	if u.err != nil {
		return storage.Info{}, u.err
	}
	return u.store.Put(ctx, u.key, [][]byte{u.data}, u.opt)
}

// Abort implements [storage.Upload].
func (u *memoryUpload) Abort() { u.over, u.data = true, nil }
