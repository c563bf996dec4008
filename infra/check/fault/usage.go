package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/<pid>/stat: Linux has it at 100 per second.
const clockTick = 10 * time.Millisecond

// Usage is what a process has taken so far in its present life.
type Usage struct {
	// CPU is user and system time together.
	CPU time.Duration
	// Resident is memory in MB.
	Resident float64
}

// Usage reads /proc/<pid>/stat (proc(5)). It skips the test where there is no /proc, and fails it when
// the process has ended.
func (p *Process) Usage() Usage {
	p.t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		p.t.Skipf("SKIP: no /proc: %v", err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		p.t.Fatalf("what %s takes can't be read: %v\n%s", p.Name, err, p.Tail(40))
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	number := func(i int) int64 {
		v, err := strconv.ParseInt(fields[i-3], 10, 64) // field 3 comes first behind the name
		if err != nil {
			p.t.Fatal(err)
		}
		return v
	}
	return Usage{
		CPU:      time.Duration(number(14)+number(15)) * clockTick,
		Resident: float64(number(24)) * float64(os.Getpagesize()) / (1 << 20),
	}
}
