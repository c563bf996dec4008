package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"klive/storage"
)

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	// A condition that fails now spares the writing; only the check under the lock counts.
	if opt.IfAbsent || opt.IfMatch != "" {
		if err := s.check(key, opt); err != nil {
			return storage.Info{}, err
		}
	}
	if err := s.room(sizeOf(data)); err != nil {
		return storage.Info{}, fmt.Errorf("storage: disk: %s: %w", key, err)
	}
	temp := s.tempName()
	size, err := s.write(temp, data)
	if err == nil {
		var out storage.Info
		if out, err = s.publish(temp, key, size, opt); err == nil {
			return out, nil
		}
	}
	os.Remove(temp)
	return storage.Info{}, fmt.Errorf("storage: disk: %s: %w", key, err)
}

// write makes the temporary file.
func (s *Store) write(temp string, data [][]byte) (int64, error) {
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, s.unwritten(err)
	}
	size, err := writeAll(f, data)
	if err != nil {
		f.Close()
		return size, s.unwritten(err)
	}
	return size, s.finish(f)
}

// finish makes what was written to a temporary file last, and closes it.
func (s *Store) finish(f *os.File) error {
	var err error
	if s.sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e // some file systems report a full disk only here
	}
	return s.unwritten(err)
}

// publish checks the condition and gives the temporary file its name, in the key's turn.
func (s *Store) publish(temp, key string, size int64, opt storage.PutOptions) (storage.Info, error) {
	unlock, err := s.lock(key)
	if err != nil {
		return storage.Info{}, err
	}
	defer unlock()
	if err := s.check(key, opt); err != nil {
		return storage.Info{}, err
	}
	ns := s.nextStamp()
	modified := time.Unix(0, ns)
	if err := os.Chtimes(temp, modified, modified); err != nil {
		return storage.Info{}, s.unwritten(err)
	}
	if err := s.rename(temp, s.path(key)); err != nil {
		return storage.Info{}, err
	}
	return storage.Info{Key: key, Size: size, ETag: etag(ns, size), Modified: modified}, nil
}

// check holds opt's condition against the file that is there.
func (s *Store) check(key string, opt storage.PutOptions) error {
	if !opt.IfAbsent && opt.IfMatch == "" {
		return nil
	}
	fi, err := os.Lstat(s.path(key))
	exists := err == nil && fi.Mode().IsRegular()
	if err != nil && !isMissing(err) {
		return err
	}
	if opt.IfMatch != "" && !exists { // which is no news of the object when the folder is away
		if err := s.gone(); err != nil {
			return err
		}
	}
	if (opt.IfAbsent && exists) || (opt.IfMatch != "" && (!exists || info(key, fi).ETag != opt.IfMatch)) {
		return fmt.Errorf("%s: %w", key, storage.ErrPrecondition)
	}
	return nil
}

// rename moves the file to its place and makes the folders above it. A delete may remove
// a folder that was just made, so it is tried again.
func (s *Store) rename(temp, path string) error {
	dir := filepath.Dir(path)
	for try := 0; ; try++ {
		err := os.Rename(temp, path)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || try == maxTries {
			return s.unwritten(err)
		}
		if err := s.gone(); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil && !isRaced(err) {
			return s.unwritten(err)
		}
	}
	if !s.sync {
		return nil
	}
	return s.syncDirs(dir)
}

// isRaced reports whether an error of MkdirAll may come of a delete beside it: a folder went
// before the one below it was made (not there), or between the finding that it exists and the
// look at what it is (exists). Where a file really stands in the way, the next rename says so.
func isRaced(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)
}

// syncDirs makes the names of a file and of the folders above it, up to the root, permanent.
func (s *Store) syncDirs(dir string) error {
	for ; len(dir) >= len(s.root); dir = filepath.Dir(dir) {
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a delete was here
		}
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return s.unwritten(err)
		}
	}
	return nil
}

// nextStamp returns the time in ns, or one more than the last stamp when that is later. The
// file system's own stamps are too coarse to tell two writes apart.
func (s *Store) nextStamp() int64 {
	now := time.Now().UnixNano()
	for {
		last := s.stamp.Load()
		next := max(now, last+1)
		if s.stamp.CompareAndSwap(last, next) {
			return next
		}
	}
}
