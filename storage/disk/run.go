package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// runPrefix begins the names of the lock files that say which stores are open on the folder.
const runPrefix = "run-"

// claim takes the lock that shows the other processes on this folder that this store's
// temporary files are in use. Process ids would not do: containers that share a folder do not
// share them.
func (s *Store) claim() error {
	path := filepath.Join(s.locks, runPrefix+s.run)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return s.unwritten(err)
		}
		if err := flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			f.Close()
			return s.unwritten(err)
		}
		// A sweep may have been faster and removed the file, which then locks nothing.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return s.unwritten(err)
		}
		if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
			s.claimed = f
			return nil
		}
		f.Close()
	}
}

// sweep removes the temporary files of stores that are not open any more. The files are listed
// before the locks, so that a store's lock is seen if its file is.
func (s *Store) sweep() error {
	files, err := os.ReadDir(s.temp)
	if err != nil {
		return err
	}
	locks, err := os.ReadDir(s.locks)
	if err != nil {
		return err
	}
	open := map[string]bool{s.run: true}
	for _, l := range locks {
		run, ok := strings.CutPrefix(l.Name(), runPrefix)
		if !ok || run == s.run {
			continue
		}
		if open[run], err = isHeld(filepath.Join(s.locks, l.Name())); err != nil {
			return err
		}
	}
	for _, f := range files {
		run, _, _ := strings.Cut(f.Name(), "-")
		if open[run] {
			continue
		}
		if err := os.Remove(filepath.Join(s.temp, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isHeld reports whether a store holds the lock file. One that nobody holds is removed.
func isHeld(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return false, nil
}

// checkStamps makes sure that the file system keeps modification times to the nanosecond,
// because they are the ETags.
func (s *Store) checkStamps() error {
	path := s.tempName()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return s.unwritten(err)
	}
	defer os.Remove(path)
	want := time.Unix(1700000000, 123456789)
	if err := os.Chtimes(path, want, want); err != nil {
		return s.unwritten(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return s.unwritten(err)
	}
	if !fi.ModTime().Equal(want) {
		return errors.New("the file system of this folder does not keep modification times to the nanosecond; use one that does, such as ext4, xfs or NFS 4")
	}
	return nil
}
