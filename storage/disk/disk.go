// Package disk keeps objects as files in a folder. A put writes a temporary file and renames
// it, so readers and crashes see whole objects only. Several processes may share a folder.
//
// The content type of an object follows from its key's extension; a cache control is not
// kept, because what is on disk is served by an origin, which knows.
package disk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"klive/storage"
)

// Config says where objects go.
type Config struct {
	// Dir is the folder, made when it is not there. Objects lie in its folder "objects".
	Dir string
	// Sync makes a put wait until the disk has it, so that it survives a power cut.
	Sync bool
	// Reserve is what is left free on the disk, in bytes: media are refused with storage.ErrFull
	// rather than take it. What is small (timelines, playlists) goes on. 0 is none.
	Reserve int64
	// Setting is what the folder was set by, for errors; storage.url by default.
	Setting string
}

const (
	stripes = 64
	// maxTries bounds how often a put makes its folder anew behind a delete that empties it.
	maxTries = 100
)

// Store is a folder of objects.
type Store struct {
	root, temp, locks string
	sync              bool
	reserve           int64
	setting           string
	striped           [stripes]stripe // a key's writers take turns
	run               string          // begins the names of this store's temporary files
	claimed           *os.File        // says that they are in use
	files             atomic.Uint64
	// stamp is the newest modification time given, in ns: no two writes share one, which
	// makes it the ETag.
	stamp atomic.Int64
}

// stripe is the turn of some keys: the mutex among goroutines, a lock on the file among
// processes. The file stays open, because every write takes the lock.
type stripe struct {
	sync.Mutex
	file *os.File // nil until it is first used
	fd   int      // the file's; asking it for the number is a system call each time
}

// Open returns the store in the folder. It removes what writes of a former run left behind.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("storage: disk: the folder's name is empty")
	}
	s := &Store{
		root: filepath.Join(cfg.Dir, "objects"), temp: filepath.Join(cfg.Dir, "tmp"), locks: filepath.Join(cfg.Dir, "locks"),
		sync: cfg.Sync, reserve: cfg.Reserve, setting: cmp.Or(cfg.Setting, "storage.url"), run: rand.Text(),
	}
	for _, dir := range []string{s.root, s.temp, s.locks} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("storage: disk: the folder of %s can't be made: %w", s.setting, err)
		}
	}
	for _, step := range []func() error{s.claim, s.sweep, s.checkStamps} {
		if err := step(); err != nil {
			s.Close()
			return nil, fmt.Errorf("storage: disk: %s: %w", cfg.Dir, err)
		}
	}
	return s, nil
}

func (s *Store) path(key string) string { return filepath.Join(s.root, filepath.FromSlash(key)) }

// lock gives the caller the key's turn, among goroutines and among processes.
func (s *Store) lock(key string) (unlock func(), err error) {
	h := fnv.New32a() // the lock file is the same in every process
	io.WriteString(h, key)
	n := h.Sum32() % stripes
	t := &s.striped[n]
	t.Lock()
	if t.file == nil {
		err = t.open(filepath.Join(s.locks, strconv.Itoa(int(n))))
	}
	if err == nil {
		err = flock(t.fd, syscall.LOCK_EX)
	}
	if err != nil {
		t.Unlock()
		return nil, s.unwritten(err)
	}
	return func() {
		_ = flock(t.fd, syscall.LOCK_UN) // can't fail on an open file
		t.Unlock()
	}, nil
}

// Close gives the lock files back. No write or upload may be under way.
func (s *Store) Close() {
	if s.claimed != nil {
		os.Remove(s.claimed.Name())
		s.claimed.Close()
		s.claimed = nil
	}
	for i := range s.striped {
		if t := &s.striped[i]; t.file != nil {
			t.file.Close()
			t.file = nil
		}
	}
}

func (t *stripe) open(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	t.file, t.fd = f, int(f.Fd())
	return nil
}

// info describes a file.
func info(key string, fi fs.FileInfo) storage.Info {
	return storage.Info{Key: key, Size: fi.Size(), ETag: etag(fi.ModTime().UnixNano(), fi.Size()), Modified: fi.ModTime()}
}

func etag(ns, size int64) string {
	return `"` + strconv.FormatInt(ns, 36) + "-" + strconv.FormatInt(size, 36) + `"`
}

// Delete implements [storage.Store]. Folders that are empty then go as well.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := storage.CheckKey(key); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.delete(key); err != nil {
			return fmt.Errorf("storage: disk: %w", err)
		}
	}
	return nil
}

func (s *Store) delete(key string) error {
	unlock, err := s.lock(key)
	if err != nil {
		return err
	}
	defer unlock()
	path := s.path(key)
	fi, err := os.Lstat(path)
	if err == nil && fi.IsDir() {
		return nil // a folder of objects is no object
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && (!isMissing(err) || s.gone() != nil) {
		return s.unwritten(err)
	}
	for dir := filepath.Dir(path); len(dir) > len(s.root); dir = filepath.Dir(dir) {
		if syscall.Rmdir(dir) != nil {
			return nil // not empty
		}
	}
	return nil
}

func flock(fd, how int) error {
	for {
		if err := syscall.Flock(fd, how); err != syscall.EINTR {
			return err
		}
	}
}
