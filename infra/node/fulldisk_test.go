package node

import (
	"errors"
	"strings"
	"testing"
)

// TestFullDisk: a disk without room for the bus's records is told before a write fails; a bus that
// has failed begins anew when there is room, and not before.
func TestFullDisk(t *testing.T) {
	var free int64 = 1 << 30
	var broken error
	d := &fullDisk{dir: "/data", broken: func() error { return broken }, free: func(string) (int64, error) { return free, nil }}
	if err := d.full(); err != nil || d.again() {
		t.Errorf("with room: %v", err)
	}
	free = diskLeast - 1
	if err := d.full(); err == nil || !strings.Contains(err.Error(), "15 MiB are left; free some space") || d.again() {
		t.Errorf("almost full: %v", err)
	}
	broken = errors.New("a write failed")
	if err := d.full(); !errors.Is(err, broken) || d.again() {
		t.Errorf("broken, and no room: %v", err)
	}
	free = diskAgain
	if err := d.full(); !errors.Is(err, broken) || !d.again() {
		t.Errorf("broken, and there is room again: %v", err)
	}
	d.free = func(string) (int64, error) { return 0, errors.New("not known") }
	broken = nil
	if err := d.full(); err != nil {
		t.Errorf("what is not known is no trouble: %v", err)
	}
	var none *fullDisk
	if none.full() != nil {
		t.Error("a process without a bus has a full disk")
	}
}
