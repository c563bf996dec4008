package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"klive/storage"
	"klive/storage/disk"
)

// A folder that goes away under a store is no news of any object: nothing says "no such
// object", no condition counts as lost, and nothing is made where the folder was. When it
// is back, all goes on.
func TestFolderGoesAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, disk.Config{Dir: dir})
	was, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("old")}, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	put := func(opt storage.PutOptions) error {
		_, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("new")}, opt)
		return err
	}
	calls := map[string]func() error{
		"put":           func() error { return put(storage.PutOptions{}) },
		"put if absent": func() error { return put(storage.PutOptions{IfAbsent: true}) },
		"put if match":  func() error { return put(storage.PutOptions{IfMatch: was.ETag}) },
		"get":           func() error { _, _, err := s.Get(t.Context(), "a/b", nil); return err },
		"list":          func() error { _, err := s.List(t.Context(), "a/", "", 10); return err },
		"list all":      func() error { _, err := s.List(t.Context(), "", "", 10); return err },
		"delete":        func() error { return s.Delete(t.Context(), "a/b") },
		"upload":        func() error { _, err := s.Upload(t.Context(), "a/c", storage.PutOptions{}); return err },
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, disk.ErrGone) || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("%s while the folder is away: %v", name, err)
		} else if !strings.Contains(err.Error(), "storage.url") {
			t.Errorf("%s does not name the key: %v", name, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made where the folder was: %v", err)
	}
	if err := os.Rename(dir+"-elsewhere", dir); err != nil {
		t.Fatal(err)
	}
	if err := put(storage.PutOptions{IfMatch: was.ETag}); err != nil {
		t.Errorf("after the folder is back: %v", err)
	}
	if _, _, err := s.Get(t.Context(), "a/nothing", nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
}
