//go:build unix

package telemetry

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// processCPU is the processor time that the process itself has used so far.
func processCPU() (time.Duration, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// descriptors are how many are open and how many may be.
func descriptors() (open, most int, ok bool) {
	most, ok = DescriptorLimit()
	if !ok {
		return 0, 0, false
	}
	d, err := os.Open("/proc/self/fd")
	if errors.Is(err, syscall.EMFILE) { // not even one is left for this
		return most, most, true
	}
	if err != nil {
		return 0, 0, false
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names), most, err == nil
}

// DescriptorLimit is how many files and sockets the process may have open.
func DescriptorLimit() (most int, ok bool) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur == 0 {
		return 0, false
	}
	return int(min(uint64(limit.Cur), 1<<30)), true
}

// DiskFree is what an unprivileged process may still write where the folder lies, in bytes: 0 too
// when no further file can be made there. A file system that tells nothing is an error.
func DiskFree(folder string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return freeOf(&s)
}

func freeOf(s *syscall.Statfs_t) (int64, error) {
	switch {
	case s.Blocks == 0: // as some FUSE mounts have it
		return 0, errors.New("the file system does not tell its size")
	case s.Files > 0 && s.Ffree == 0: // one without a table of files says 0 of 0
		return 0, nil
	}
	return int64(min(uint64(s.Bavail)*uint64(s.Bsize), 1<<62)), nil
}
