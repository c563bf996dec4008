package telemetry

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestResidentMemory: what the process has written counts, what it has mapped of a file does not.
func TestResidentMemory(t *testing.T) {
	const size = 64 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	grown := func(fd, flags int) int64 {
		t.Helper()
		before, ok := residentMemory()
		m, err := syscall.Mmap(fd, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, flags)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		for i := 0; i < size; i += 4096 {
			m[i] = 1
		}
		after, _ := residentMemory()
		if err := syscall.Munmap(m); err != nil {
			t.Fatal(err)
		}
		return after - before
	}
	if g := grown(int(f.Fd()), syscall.MAP_SHARED); g > size/4 {
		t.Errorf("64 MiB of a file count %d MiB", g>>20)
	}
	if g := grown(-1, syscall.MAP_PRIVATE|syscall.MAP_ANON); g < size*3/4 {
		t.Errorf("64 MiB of memory count %d MiB", g>>20)
	}
}

// TestFreeOf: a disk without room for another file is full, and one that tells nothing is unknown.
func TestFreeOf(t *testing.T) {
	for name, c := range map[string]struct {
		s    syscall.Statfs_t
		free int64
		ok   bool
	}{
		"room":              {syscall.Statfs_t{Bsize: 4096, Blocks: 100, Bavail: 10, Files: 100, Ffree: 1}, 40960, true},
		"no block":          {syscall.Statfs_t{Bsize: 4096, Blocks: 100, Files: 100, Ffree: 1}, 0, true},
		"no file":           {syscall.Statfs_t{Bsize: 4096, Blocks: 100, Bavail: 10, Files: 100}, 0, true},
		"no table of files": {syscall.Statfs_t{Bsize: 4096, Blocks: 100, Bavail: 10}, 40960, true},
		"nothing is told":   {syscall.Statfs_t{Bsize: 4096}, 0, false},
	} {
		if free, err := freeOf(&c.s); free != c.free || (err == nil) != c.ok {
			t.Errorf("%s: %d, %v", name, free, err)
		}
	}
}
