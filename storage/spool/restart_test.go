package spool_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"klive/storage"
	"klive/storage/spool"
)

// What is spooled survives the process, and is stored by the next one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.store.set(down)
		for n := range 5 {
			r.put(n)
			time.Sleep(4 * time.Second)
		}
		r.spool.Close()
		if _, err := r.spool.PutMedia(t.Context(), key(9), nil, mediaOptions, nil); !errors.Is(err, spool.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		r.start()
		for n := range 5 {
			r.wantGet(r.spool, n)
		}
		if s := r.spool.Stats(); s.Objects != 5 || s.Oldest != 20*time.Second {
			t.Errorf("stats %+v", s)
		}
		if !r.put(5) {
			t.Error("not held")
		}
		if !r.put(2) { // the next owner of the entry stores it again
			t.Error("not held")
		}
		r.store.set(nil)
		time.Sleep(5 * time.Second)
		for n := range 6 {
			r.wantGet(r.store, n)
			if got := r.outcome(n); (n == 2 || n == 5) != (len(got) == 1) {
				t.Errorf("object %d: settled %v", n, got)
			}
		}
		body, info, err := r.store.Get(t.Context(), key(0), nil)
		if err != nil || info.ContentType != mediaOptions.ContentType || info.CacheControl != mediaOptions.CacheControl {
			t.Fatalf("%+v, %v", info, err)
		}
		body.Close()
	})
}

// The budget holds for what a process before left as well.
func TestRestartOverBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.store.set(down)
		for n := range 10 {
			r.put(n)
		}
		r.spool.Close()
		r.start(func(c *spool.Config) { c.MaxBytes = 3 * 700 })
		synctest.Wait()
		if s := r.spool.Stats(); s.Objects != 3 {
			t.Errorf("stats %+v", s)
		}
		for n := 7; n < 10; n++ {
			r.wantGet(r.spool, n)
		}
	})
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.obj"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Damaged files are set aside, and the others are stored.
func TestDamagedFiles(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"cut":        func(b []byte) []byte { return b[:len(b)-1] },
		"empty":      func(b []byte) []byte { return nil },
		"no header":  func(b []byte) []byte { return b[20:] },
		"newer":      func(b []byte) []byte { return []byte(strings.Replace(string(b), `{"v":1`, `{"v":9`, 1)) },
		"bad key":    func(b []byte) []byte { return []byte(strings.Replace(string(b), `"kLive/`, `"/Live/`, 1)) },
		"other byte": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.store.set(down)
				for n := range 3 {
					r.put(n)
				}
				r.spool.Close()
				path := files(t, r.dir)[1]
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage(b), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(r.dir, "tmp-0000.obj"), b[:10], 0o644); err != nil {
					t.Fatal(err)
				}
				r.store.set(nil)
				r.start()
				time.Sleep(5 * time.Second)
				r.wantGet(r.store, 0)
				r.wantGet(r.store, 2)
				if _, err := r.get(r.spool, 1, nil); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("the damaged object: %v", err)
				}
				if left := files(t, r.dir); len(left) != 0 {
					t.Errorf("left over: %v", left)
				}
				if _, err := os.Stat(filepath.Join(r.dir, "damaged", filepath.Base(path))); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestFolderInUse(t *testing.T) {
	r := newRig(t)
	_, err := spool.Open(spool.Config{Store: r.store, Dir: r.dir, MaxBytes: 1})
	if !errors.Is(err, spool.ErrInUse) || !strings.Contains(err.Error(), "spool.dir") {
		t.Errorf("Open = %v, want ErrInUse", err)
	}
}

// A full local disk is an error for the caller, and costs nothing that is spooled already.
// An attempt that is still under way may save the object.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: newFaults(), dir: dir, settled: map[string][]error{}}
		r.start()
		defer r.spool.Close()
		big := [][]byte{[]byte(strings.Repeat("x", 1<<17))}
		r.store.set(slow(2 * time.Second))
		if held, err := r.spool.PutMedia(t.Context(), key(8), big, mediaOptions, r.note(8)); held || err != nil {
			t.Errorf("a slow attempt: %v, %v; want it stored", held, err)
		}
		r.store.set(down)
		r.put(1)
		if held, err := r.spool.PutMedia(t.Context(), key(9), big, mediaOptions, r.note(9)); held || !errors.Is(err, storage.ErrFull) {
			t.Errorf("a full disk: %v, %v; want ErrFull", held, err)
		}
		if s := r.spool.Stats(); s.Objects != 1 || s.Bytes != 700 {
			t.Errorf("stats %+v", s)
		}
		r.store.set(nil)
		time.Sleep(5 * time.Second)
		r.wantSettled(1, nil)
		if r.outcome(8) != nil || r.outcome(9) != nil {
			t.Error("callbacks of objects that were never held")
		}
	})
}
