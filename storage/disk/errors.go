package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"klive/storage"
)

// ErrGone is returned when the store's own folder has gone since the store was opened: it was
// unmounted, moved or removed. It is not made anew behind its owner's back, because media would
// then go to the disk below a mount.
var ErrGone = errors.New("storage: disk: the folder of storage.url is not there any more; mount or restore it, or restart klive to begin with an empty one")

// unread gives errors of reading the names of package storage.
func (s *Store) unread(err error) error {
	if isMissing(err) {
		return firstError(s.gone(), fmt.Errorf("%w (%w)", storage.ErrNotFound, err))
	}
	return err
}

// unwritten does so with errors of writing: there, what is missing is the folder.
func (s *Store) unwritten(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: free space on the disk of %s, the folder of %s (%w)", storage.ErrFull, filepath.Dir(s.root), s.setting, err)
	case isMissing(err):
		return firstError(s.gone(), err)
	}
	return err
}

// gone says whether the folders that Open made are not there.
func (s *Store) gone() error {
	for _, dir := range []string{s.root, s.temp, s.locks} {
		if _, err := os.Stat(dir); isMissing(err) {
			return fmt.Errorf("%w (%w)", ErrGone, err)
		}
	}
	return nil
}

// firstError is the first of two errors that is one.
func firstError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// isMissing reports whether an error of the file system says that something is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}
