package telemetry

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// stat is what memory.stat of version 2 says, cut to what is of use here and around it.
const stat = "anon 900\nfile 5200\nkernel 700\nkernel_stack 64\nslab 500\nshmem 200\nfile_mapped 40\ninactive_file 3000\nslab_reclaimable 300\nslab_unreclaimable 200\n"

// TestGroups: each limit of a process's control groups is found, in either version, whether the
// process sees them under the host's name or its own as the root.
func TestGroups(t *testing.T) {
	for name, c := range map[string]struct {
		self       string
		files      map[string]string
		memory     []memoryGroup
		processors float64
	}{
		"none": {"", nil, nil, math.Inf(1)},
		"version 2, a service": {"0::/system.slice/klive.service\n", map[string]string{
			"system.slice/klive.service/memory.max": "268435456\n", "system.slice/klive.service/memory.current": "6000\n", "system.slice/klive.service/memory.stat": stat,
			"system.slice/memory.max": "max\n", "system.slice/cpu.max": "150000 100000\n", "system.slice/klive.service/cpu.max": "max 100000\n",
		}, []memoryGroup{{256 << 20, 700}}, 1.5},
		"version 2, the outer group is the smaller": {"0::/a/b\n", map[string]string{
			"a/b/memory.max": "268435456\n", "a/memory.max": "134217728\n", "a/memory.current": "7000\n", "a/memory.stat": "file 5000\n", "a/b/memory.current": "1000\n",
		}, []memoryGroup{{256 << 20, 1000}, {128 << 20, 2000}}, math.Inf(1)},
		"version 2, a container": {"0::/\n", map[string]string{"memory.max": "1048576", "memory.current": "7", "cpu.max": "50000 100000"}, []memoryGroup{{1 << 20, 7}}, 0.5},
		"version 2, a mark below the limit": {"0::/system.slice/klive.service\n", map[string]string{
			"system.slice/klive.service/memory.max": "268435456\n", "system.slice/klive.service/memory.high": "201326592\n",
			"system.slice/klive.service/memory.current": "6000\n", "system.slice/klive.service/memory.stat": stat,
			"system.slice/memory.max": "max\n", "system.slice/memory.high": "max\n", "system.slice/memory.current": "90000\n",
		}, []memoryGroup{{192 << 20, 700}}, math.Inf(1)},
		"version 2, a mark and no limit": {"0::/a\n", map[string]string{
			"a/memory.max": "max\n", "a/memory.high": "134217728\n", "a/memory.current": "8\n", "a/memory.min": "0\n", "a/memory.low": "0\n",
		}, []memoryGroup{{128 << 20, 8}}, math.Inf(1)},
		"version 2, no limit at all": {"0::/a/b\n", map[string]string{
			"a/b/memory.max": "max\n", "a/b/memory.high": "max\n", "a/b/memory.current": "8\n", "a/memory.max": "max\n", "a/memory.high": "max\n", "memory.stat": stat, "cpu.max": "max 100000\n",
		}, nil, math.Inf(1)},
		"version 2, a pod of two containers": {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-2.scope\n", map[string]string{
			"kubepods.slice/memory.max": "34359738368\n", "kubepods.slice/memory.current": "21474836480\n", "kubepods.slice/memory.stat": "file 1073741824\nshmem 0\nslab_reclaimable 0\n",
			"kubepods.slice/kubepods-burstable.slice/memory.max":                                  "max\n",
			"kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/memory.max":              "1073741824\n",
			"kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/memory.current":          "900000000\n",
			"kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-2.scope/memory.max":  "536870912\n",
			"kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-2.scope/memory.high": "max\n",
			"kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-2.scope/cpu.max":     "200000 100000\n",
		}, []memoryGroup{{512 << 20, 0}, {1 << 30, 900e6}, {32 << 30, 19 << 30}}, 2},
		"version 2, a group beside what is seen": {"0::/../other.scope\n", map[string]string{"other.scope/memory.max": "1048576\n", "memory.max": "2097152\n"}, nil, math.Inf(1)},
		"both versions": {"4:memory:/x\n1:name=systemd:/x\n0::/x\n", map[string]string{
			"memory/x/memory.limit_in_bytes": "268435456\n", "memory/x/memory.usage_in_bytes": "9\n", "unified/x/cgroup.procs": "1\n",
		}, []memoryGroup{{256 << 20, 9}}, math.Inf(1)},
		"version 1, a service": {"9:name=systemd:/\n4:memory:/x/y\n1:cpu:/x\n", map[string]string{
			"memory/x/y/memory.limit_in_bytes": "268435456\n", "memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/x/y/memory.usage_in_bytes": "9000\n", "memory/x/y/memory.stat": "cache 5\ntotal_cache 6000\ntotal_shmem 0\n",
			"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n",
		}, []memoryGroup{{256 << 20, 3000}}, 2},
		"version 1, a container that sees the host's name": {"4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n", map[string]string{
			"memory/memory.limit_in_bytes": "1048576\n", "memory/memory.usage_in_bytes": "9\n", "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, []memoryGroup{{1 << 20, 9}}, math.Inf(1)},
		"nonsense": {"x\n0::\n4:memory\n", map[string]string{"memory.max": "-5", "cpu.max": "max"}, nil, math.Inf(1)},
	} {
		t.Run(name, func(t *testing.T) {
			g := groups{root: t.TempDir(), self: c.self}
			for file, text := range c.files {
				path := filepath.Join(g.root, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := g.memory(); !slices.Equal(got, c.memory) {
				t.Errorf("memory %+v, want %+v", got, c.memory)
			}
			if p := g.processors(); p != c.processors {
				t.Errorf("%v processors, want %v", p, c.processors)
			}
		})
	}
}

// TestMemoryShare: the fullest of what limits a process counts, be it not the smallest.
func TestMemoryShare(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		resident, host int64
		groups         []memoryGroup
		want           float64
	}{
		"nothing is known":               {100 * mib, 0, nil, -1},
		"the host's memory":              {100 * mib, 1000 * mib, nil, 0.1},
		"a limit":                        {85 * mib, 1000 * mib, []memoryGroup{{200 * mib, 60 * mib}}, 0.5},
		"its children count":             {85 * mib, 1000 * mib, []memoryGroup{{200 * mib, 170 * mib}}, 1},
		"others fill an outer group":     {10 * mib, 1000 * mib, []memoryGroup{{100 * mib, 17 * mib}, {200 * mib, 153 * mib}}, 0.9},
		"a limit above the host's":       {500 * mib, 1000 * mib, []memoryGroup{{4000 * mib, 0}}, 0.5},
		"a limit where no host is known": {85 * mib, 0, []memoryGroup{{200 * mib, 0}}, 0.5},
	} {
		if got := memoryShare(c.resident, c.host, c.groups); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
