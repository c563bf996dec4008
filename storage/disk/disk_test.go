package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"klive/storage"
	"klive/storage/disk"
	"klive/storage/storagetest"
)

func open(t *testing.T, cfg disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync=%v", sync), func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storage.Store {
				return open(t, disk.Config{Dir: t.TempDir(), Sync: sync})
			})
		})
	}
}

func TestUploads(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync=%v", sync), func(t *testing.T) {
			storagetest.RunUploads(t, func(t *testing.T) storagetest.UploadStore {
				return open(t, disk.Config{Dir: t.TempDir(), Sync: sync})
			})
		})
	}
}

// Two stores on one folder are what two processes are: conditions hold between them too.
func TestConditionsBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	stores := []*disk.Store{open(t, disk.Config{Dir: dir}), open(t, disk.Config{Dir: dir})}
	for round := range 20 {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = stores[i%2].Put(t.Context(), key, [][]byte{{byte(i)}}, storage.PutOptions{IfAbsent: true})
			})
		}
		wg.Wait()
		wins := 0
		for _, err := range errs {
			if err == nil {
				wins++
			}
		}
		if wins != 1 {
			t.Fatalf("round %d: %d winners", round, wins)
		}
	}
}

func TestSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, disk.Config{Dir: dir})
	put, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("x")}, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, disk.Config{Dir: dir})
	if _, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("y")}, storage.PutOptions{IfMatch: put.ETag}); err != nil {
		t.Errorf("the ETag of the former run does not hold: %v", err)
	}
}

// What a store that is not open any more left behind goes, and what an open one is writing
// stays, whatever process ids say.
func TestRemovesAbandonedFiles(t *testing.T) {
	dir := t.TempDir()
	other := open(t, disk.Config{Dir: dir})
	u, err := other.Upload(t.Context(), "a", storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	// A killed process leaves its lock file and its temporary ones, and holds no lock.
	gone := []string{filepath.Join(dir, "tmp", "GONE-1"), filepath.Join(dir, "locks", "run-GONE"), filepath.Join(dir, "tmp", "LOST-1")}
	for _, name := range gone {
		if err := os.WriteFile(name, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open(t, disk.Config{Dir: dir})
	for _, name := range gone {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	if _, err := u.Commit(t.Context()); err != nil {
		t.Errorf("the upload of a store that is open: %v", err)
	}
	other.Close()
	if list, err := filepath.Glob(filepath.Join(dir, "locks", "run-*")); err != nil || len(list) != 1 {
		t.Errorf("one store is open, with the locks %q, %v", list, err)
	}
}

// Many stores open and close on one folder while others write: no write fails.
func TestOpenWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 20 {
				s, err := disk.Open(disk.Config{Dir: dir})
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				for n := range 5 {
					if _, err := s.Put(t.Context(), fmt.Sprintf("a/%d/%d", i, n), [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
						t.Errorf("Put: %v", err)
					}
				}
				s.Close()
			}
		})
	}
	wg.Wait()
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, disk.Config{Dir: dir})
	for _, name := range []string{"a b", "b\x01", "c"} {
		if err := os.WriteFile(filepath.Join(dir, "objects", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 1 || list[0].Key != "c" {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestLeavesNoTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, disk.Config{Dir: dir})
	for range 3 {
		s.Put(t.Context(), "a", [][]byte{[]byte("x")}, storage.PutOptions{IfAbsent: true})
	}
	for _, end := range []func(u storage.Upload){
		func(u storage.Upload) { u.Abort() },
		func(u storage.Upload) { u.Commit(t.Context()) }, // there is an object
	} {
		u, err := s.Upload(t.Context(), "a", storage.PutOptions{IfAbsent: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		end(u)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(list) != 0 {
		t.Errorf("left over: %v, %v", list, err)
	}
}

func TestDeleteRemovesEmptyFolders(t *testing.T) {
	dir := t.TempDir()
	s := open(t, disk.Config{Dir: dir})
	for _, key := range []string{"a/b/c/d", "a/e"} {
		if _, err := s.Put(t.Context(), key, nil, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "a/b/c/d"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "objects", "a", "b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty folder is still there (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "objects", "a", "e")); err != nil {
		t.Error(err)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := disk.Open(disk.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	var data [][]byte
	for range 300 {
		data = append(data, make([]byte, 8<<10))
	}
	b.SetBytes(300 * 8 << 10)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(b.Context(), fmt.Sprintf("k/%d", i%16), data, storage.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
