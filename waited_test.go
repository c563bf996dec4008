package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// waitedForCPU is how long the threads of a process have been ready to run while others had the
// processors, all together (proc(5), schedstat). It is 0 where the system does not tell. What it is
// taken from holds on a machine with a processor to spare alone: on a busy one it may be more than
// the time that went by.
func waitedForCPU(pid int) (sum time.Duration) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited int64
		if _, err := fmt.Sscan(string(text), &ran, &waited); err == nil {
			sum += time.Duration(waited)
		}
	}
	return sum
}
