//go:build !linux

package fault

import "testing"

// MemoryGroup is for Linux.
type MemoryGroup struct{}

// NewMemoryGroup skips the test: control groups are Linux's.
func NewMemoryGroup(t testing.TB, _ int64) *MemoryGroup {
	t.Helper()
	t.Skip("SKIP: memory is limited on Linux")
	return nil
}

// Command is for Linux.
func (*MemoryGroup) Command(path string, args ...string) (string, []string) { return path, args }

// Peak is for Linux.
func (*MemoryGroup) Peak() int64 { return 0 }

// Kills is for Linux.
func (*MemoryGroup) Kills() int { return 0 }
