package transcode

import "golang.org/x/sys/unix"

// limitMemory bounds a process's address space. It is a safeguard: a system that refuses runs
// without.
func limitMemory(pid int, bytes int64) {
	if bytes > 0 {
		limit := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
		_ = unix.Prlimit(pid, unix.RLIMIT_AS, &limit, nil)
	}
}
