package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Stopwatch measures how long something took, and what of that may be the machine's fault: tests
// that hold a time then hold it in full where there is a processor to spare, and on a machine with
// too much to do hold less, instead of failing.
type Stopwatch struct {
	begin  time.Time
	pids   []int
	before time.Duration // that they had waited at the beginning
}

// NewStopwatch begins to measure what this process does, and the processes of pids, which run.
func NewStopwatch(pids ...int) *Stopwatch {
	s := &Stopwatch{pids: append([]int{os.Getpid()}, pids...)}
	s.before, s.begin = s.sum(), time.Now()
	return s
}

// Add counts a process as well that was started since.
func (s *Stopwatch) Add(pid int) { s.pids = append(s.pids, pid) }

// Took returns how much time went by since the beginning, and for how long of it the threads of the
// processes, all together, were ready to run while others had the processors. On a busy machine that
// may be more than went by. It is 0 where the system does not tell.
func (s *Stopwatch) Took() (took, waited time.Duration) {
	return time.Since(s.begin), max(0, s.sum()-s.before) // threads that ended have taken theirs along
}

// Beyond returns an error if more than limit went by that no lack of processors explains.
func (s *Stopwatch) Beyond(limit time.Duration) error {
	took, waited := s.Took()
	if took-waited <= limit {
		return nil
	}
	return fmt.Errorf("it took %v, want %v (%v went by without a processor)", took.Round(time.Millisecond), limit, waited.Round(time.Millisecond))
}

// sum reads proc(5), schedstat.
func (s *Stopwatch) sum() (sum time.Duration) {
	for _, pid := range s.pids {
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
	}
	return sum
}
