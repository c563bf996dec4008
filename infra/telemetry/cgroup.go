package telemetry

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// groups are the control groups of a process (cgroups(7)): its own, and those that it lies in. Each
// may limit it.
type groups struct {
	// root is where they are mounted.
	root string
	// self is what /proc/self/cgroup says.
	self string
}

// ownGroups are this process's.
func ownGroups() groups {
	self, _ := os.ReadFile("/proc/self/cgroup") // where there is none, nothing limits
	return groups{root: "/sys/fs/cgroup", self: string(self)}
}

// noLimit is the least number by which version 1 says that there is no limit: it is near 2^63.
const noLimit = 1 << 60

// memoryGroup is a group that limits memory: the limit, and what all processes under it, and the
// kernel for them, use without what the kernel takes back by itself, in bytes.
type memoryGroup struct{ limit, used int64 }

// memoryFiles are the files of a group by which it limits memory, and what its memory.stat calls
// that which does not count. Of several limits the smallest holds: beyond memory.high the kernel
// kills nobody, but holds processes up until they stand still.
type memoryFiles struct {
	controller string
	limits     []string
	used       string
	free       []string // pages of files, and of version 2 what the kernel remembers of files
	shared     string   // part of the pages of files that can't be dropped
}

// memory are the groups that limit the process, its own first.
func (g groups) memory() (out []memoryGroup) {
	for _, v := range []memoryFiles{
		{"", []string{"memory.max", "memory.high"}, "memory.current", []string{"file", "slab_reclaimable"}, "shmem"},
		{"memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", []string{"total_cache"}, "total_shmem"},
	} {
		for _, dir := range g.folders(v.controller) {
			if one, ok := v.read(dir); ok {
				out = append(out, one)
			}
		}
	}
	return out
}

// read looks at one group; ok is false when it has no limit.
func (v memoryFiles) read(dir string) (one memoryGroup, ok bool) {
	for _, name := range v.limits {
		n, err := strconv.ParseInt(read(dir, name), 10, 64) // "max" is none
		if err == nil && n > 0 && n < noLimit && (one.limit == 0 || n < one.limit) {
			one.limit = n
		}
	}
	if one.limit == 0 {
		return one, false
	}
	stat := read(dir, "memory.stat")
	one.used, _ = strconv.ParseInt(read(dir, v.used), 10, 64) // 0 where it is not told
	for _, name := range v.free {
		one.used -= field(stat, name)
	}
	one.used = max(0, one.used+field(stat, v.shared))
	return one, true
}

// processors is the smallest share of processors; infinite when there is no limit.
func (g groups) processors() float64 {
	least := math.Inf(1)
	share := func(quota, period string) {
		q, errQ := strconv.ParseFloat(quota, 64)
		p, errP := strconv.ParseFloat(period, 64)
		if errQ == nil && errP == nil && q > 0 && p > 0 {
			least = min(least, q/p)
		}
	}
	for _, dir := range g.folders("") {
		quota, period, _ := strings.Cut(read(dir, "cpu.max"), " ") // in µs, or "max <period>"
		share(quota, period)
	}
	for _, dir := range g.folders("cpu") {
		share(read(dir, "cpu.cfs_quota_us"), read(dir, "cpu.cfs_period_us")) // -1 is no limit
	}
	return least
}

// folders are those of the process's groups of a controller, its own first; of version 2 when the
// controller is empty. A container may see its own group as the root, under whatever name the host
// has for it: folders that are not there say nothing. One that lies beside what it sees ("/../x",
// cgroup_namespaces(7)) has none there.
func (g groups) folders(controller string) (out []string) {
	for line := range strings.Lines(g.self) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[2] == "/.." || strings.HasPrefix(part[2], "/../") {
			continue
		}
		root := g.root
		for name := range strings.SplitSeq(part[1], ",") {
			if name != controller {
				continue
			}
			if name != "" {
				root = filepath.Join(root, part[1])
			}
			for at := path.Clean("/" + part[2]); ; at = path.Dir(at) {
				out = append(out, filepath.Join(root, at))
				if at == "/" {
					break
				}
			}
		}
	}
	return out
}

// read is a file of a group; empty when there is none.
func read(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// field is a value of a file of lines "<name> <value>"; 0 when it is not there.
func field(text, name string) int64 {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}
