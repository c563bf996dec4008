package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MemoryGroup is a control group with a limit on memory (cgroups(7)): beyond it the kernel kills.
type MemoryGroup struct {
	dir string
	v2  bool
}

// NewMemoryGroup makes a group whose processes may use so many bytes, and no swap. It ends with the
// test, after the processes in it. It skips the test where groups can't be made.
func NewMemoryGroup(t testing.TB, limit int64) *MemoryGroup {
	t.Helper()
	const root = "/sys/fs/cgroup"
	g := &MemoryGroup{dir: filepath.Join(root, "memory")}
	if controllers, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); err == nil && strings.Contains(string(controllers), "memory") {
		g.dir, g.v2 = root, true
	}
	g.dir = filepath.Join(g.dir, fmt.Sprintf("klive-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("SKIP: no control group for memory can be made: %v; run as root", err)
	}
	t.Cleanup(func() {
		var err error
		for range 50 { // processes that have ended leave it a moment later
			if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("a control group stays: %v", err)
	})
	name, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if g.v2 {
		name, swap = "memory.max", "memory.swap.max"
	}
	if err := g.write(name, strconv.FormatInt(limit, 10)); err != nil {
		t.Skipf("SKIP: memory can't be limited: %v", err)
	}
	most := limit // version 1 counts memory and swap together
	if g.v2 {
		most = 0
	}
	_ = g.write(swap, strconv.FormatInt(most, 10)) // there is no such file where there is no swap
	return g
}

// Command is how a program runs in the group; the process keeps its id.
func (g *MemoryGroup) Command(path string, args ...string) (string, []string) {
	return "/bin/sh", append([]string{"-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir, path}, args...)
}

// Peak is the most that the group has used, pages of files included, in bytes; 0 when it is not told.
func (g *MemoryGroup) Peak() int64 {
	name := "memory.max_usage_in_bytes"
	if g.v2 {
		name = "memory.peak"
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(g.read(name)), 10, 64)
	return n
}

// Kills is how many processes of the group the kernel has killed for want of memory.
func (g *MemoryGroup) Kills() int {
	name := "memory.oom_control"
	if g.v2 {
		name = "memory.events"
	}
	for line := range strings.Lines(g.read(name)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

func (g *MemoryGroup) write(name, value string) error {
	return os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o644)
}

func (g *MemoryGroup) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(g.dir, name))
	return string(b)
}
