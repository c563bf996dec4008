package disk_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"klive/storage"
	"klive/storage/disk"
)

// A full disk gives ErrFull, leaves the old object and no rubbish, and works again later.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, disk.Config{Dir: dir})
	if _, err := s.Put(t.Context(), "a", [][]byte{[]byte("old")}, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	big := [][]byte{[]byte(strings.Repeat("x", 1<<20))}
	if _, err := s.Put(t.Context(), "a", big, storage.PutOptions{}); !errors.Is(err, storage.ErrFull) || !strings.Contains(err.Error(), "storage.url") {
		t.Fatalf("Put on a full disk = %v, want ErrFull that names the key", err)
	}
	body, info, err := s.Get(t.Context(), "a", nil)
	if err != nil || info.Size != 3 {
		t.Fatalf("the old object: %+v, %v", info, err)
	}
	body.Close()
	if _, err := s.Put(t.Context(), "b", [][]byte{[]byte("small")}, storage.PutOptions{}); err != nil {
		t.Errorf("Put after the big one failed = %v", err)
	}
}
