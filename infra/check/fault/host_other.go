//go:build !linux

package fault

import "testing"

// SmallDisk skips the test: small disks are mounted on Linux.
func SmallDisk(t testing.TB, _ string) string {
	t.Helper()
	t.Skip("SKIP: small disks are mounted on Linux")
	return ""
}

// FillDisk is for Linux.
func FillDisk(t testing.TB, _ string, _ int64) (free func()) {
	t.Helper()
	t.Skip("SKIP: disks are filled on Linux")
	return func() {}
}

// LimitDescriptors is for Linux.
func LimitDescriptors(t testing.TB, _ int, _ uint64) (before uint64) {
	t.Helper()
	t.Skip("SKIP: other processes are limited on Linux")
	return 0
}
