package telemetry

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Load is how much of its share of the host a process uses. A figure that this system does not
// tell is negative.
type Load struct {
	// CPU is the processor time that the process itself used over the last half minute, without
	// that of its children, of what it may use: 0 to 1.
	CPU float64
	// Memory is what it uses of the memory that it may use, 0 to 1, and may be more: its resident
	// memory, or that of all processes under the same limit and of the kernel for them, without pages
	// of files. Garbage counts: the kernel ends who has it, whatever a collector might find.
	Memory float64
	// Descriptors is its open files and sockets of what it may open, 0 to 1.
	Descriptors float64
	// DiskFree is what is free where the process keeps its data, in bytes.
	DiskFree int64
}

// loadWindow is how far the CPU's use looks back: a start of many streams at once is no load.
const loadWindow = 30 * time.Second

// Gauge measures a process's load; Read is called about once a second. Not safe for concurrent
// use.
type Gauge struct {
	// Data is the folder whose disk is looked at; empty is none.
	Data string

	past []cpuSample
}

type cpuSample struct {
	at   time.Time
	used time.Duration
}

// Read measures now.
func (g *Gauge) Read(now time.Time) Load {
	l := Load{CPU: -1, Memory: -1, Descriptors: -1, DiskFree: -1}
	if used, ok := processCPU(); ok {
		l.CPU = g.cpu(now, used, Processors())
	}
	if used, ok := residentMemory(); ok {
		l.Memory = memoryShare(used, hostMemory(), ownGroups().memory())
	}
	if open, most, ok := descriptors(); ok {
		l.Descriptors = float64(open) / float64(most)
	}
	if g.Data != "" {
		if free, err := DiskFree(g.Data); err == nil {
			l.DiskFree = free
		}
	}
	return l
}

// memoryShare is how much of what it may use a process does: itself, or all under one of its limits,
// whichever is fullest, such as with its children (ffmpeg), or with those beside it in an outer group.
func memoryShare(resident, host int64, groups []memoryGroup) float64 {
	share := -1.0
	if host > 0 {
		share = float64(resident) / float64(host)
	}
	for _, g := range groups {
		share = max(share, float64(max(resident, g.used))/(MemoryShare*float64(g.limit)))
	}
	return share
}

// cpu is the share over the window; while that has not passed, none.
func (g *Gauge) cpu(now time.Time, used time.Duration, processors float64) float64 {
	g.past = append(g.past, cpuSample{now, used})
	for len(g.past) > 1 && now.Sub(g.past[1].at) >= loadWindow {
		g.past = append(g.past[:0], g.past[1:]...)
	}
	span := now.Sub(g.past[0].at)
	if span < loadWindow || processors <= 0 {
		return 0
	}
	return float64(used-g.past[0].used) / float64(span) / processors
}

// Processors is how many the process may use: its control groups' share, or the host's.
func Processors() float64 {
	return min(float64(runtime.NumCPU()), ownGroups().processors())
}

// MemoryShare is how much of a container's memory is for what the process has in use, and for garbage
// that nobody has collected yet. The rest is for the kernel's own, and for pages of files: where these
// have no room every write waits for the disk, and what waits to be written takes more memory.
const MemoryShare = 0.85

// ContainerMemory is the limit that a container, or whoever else started the process, has put on its
// memory, in bytes; 0 when there is none.
func ContainerMemory() (limit int64) {
	for _, g := range ownGroups().memory() {
		if limit == 0 || g.limit < limit {
			limit = g.limit
		}
	}
	return limit
}

// hostMemory is the host's memory in bytes; 0 when it is not known.
func hostMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// residentMemory is what the process uses, in bytes, without the pages of files, such as its own
// program: the kernel takes those back when it needs them (proc(5), /proc/self/statm: resident
// less shared).
func residentMemory() (int64, bool) {
	b, err := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 3 {
		return 0, false
	}
	resident, err := strconv.ParseInt(f[1], 10, 64)
	shared, errShared := strconv.ParseInt(f[2], 10, 64)
	return max(0, resident-shared) * int64(os.Getpagesize()), err == nil && errShared == nil
}

// Marks are the shares of load above which a gateway takes no new streams; 0 is no mark.
type Marks struct {
	CPU, Memory, Descriptors float64 // 0 to 1
	DiskFree                 int64   // bytes
	// Network bounds the sum of the streams' bitrates, in bit/s; Streams their number.
	Network int64
	Streams int
}

// Over says which marks a load is over, with the process's streams and the sum of their bitrates; nil when none. Its
// text is for operators and encoders.
func (m Marks) Over(l Load, streams int, bits int64) error {
	share := func(what, key string, got, mark float64) error {
		if mark > 0 && got >= mark {
			return fmt.Errorf("%s at %.0f %% (%s is %.0f)", what, got*100, key, mark*100)
		}
		return nil
	}
	var errs []error
	errs = append(errs,
		share("CPU", "limits.cpu", l.CPU, m.CPU),
		share("memory", "limits.memory", l.Memory, m.Memory),
		share("file descriptors", "limits.descriptors", l.Descriptors, m.Descriptors))
	if m.DiskFree > 0 && l.DiskFree >= 0 && l.DiskFree < m.DiskFree {
		errs = append(errs, fmt.Errorf("the disk of the data folder has %d MiB left (limits.disk is %d MiB)", l.DiskFree>>20, m.DiskFree>>20))
	}
	if m.Network > 0 && bits >= m.Network {
		errs = append(errs, fmt.Errorf("the streams bring %.1f Mbit/s (limits.network is %.1f)", float64(bits)/1e6, float64(m.Network)/1e6))
	}
	if m.Streams > 0 && streams >= m.Streams {
		errs = append(errs, fmt.Errorf("%s (limits.streams is %d)", Count(streams, "stream", "streams"), m.Streams))
	}
	return errors.Join(errs...)
}
