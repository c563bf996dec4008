package telemetry

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestGroups: the smallest limit of a process's control groups holds, in either version, whether the
// process sees them under the host's name or its own as the root.
func TestGroups(t *testing.T) {
	for name, c := range map[string]struct {
		self        string
		files       map[string]string
		limit, used int64
		processors  float64
	}{
		"none": {"", nil, 0, 0, math.Inf(1)},
		"version 2, a service": {"0::/system.slice/klive.service\n", map[string]string{
			"system.slice/klive.service/memory.max": "268435456\n", "system.slice/klive.service/memory.current": "6000\n", "system.slice/klive.service/memory.stat": "anon 900\nfile 5200\nshmem 200\n",
			"system.slice/memory.max": "max\n", "system.slice/cpu.max": "150000 100000\n", "system.slice/klive.service/cpu.max": "max 100000\n",
		}, 256 << 20, 1000, 1.5},
		"version 2, the outer group is the smaller": {"0::/a/b\n", map[string]string{
			"a/b/memory.max": "268435456\n", "a/memory.max": "134217728\n", "a/memory.current": "7000\n", "a/memory.stat": "file 5000\n", "a/b/memory.current": "1000\n",
		}, 128 << 20, 2000, math.Inf(1)},
		"version 2, a container": {"0::/\n", map[string]string{"memory.max": "1048576", "memory.current": "7", "cpu.max": "50000 100000"}, 1 << 20, 7, 0.5},
		"version 1, a service": {"9:name=systemd:/\n4:memory:/x/y\n1:cpu:/x\n", map[string]string{
			"memory/x/y/memory.limit_in_bytes": "268435456\n", "memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/x/y/memory.usage_in_bytes": "9000\n", "memory/x/y/memory.stat": "cache 5\ntotal_cache 6000\ntotal_shmem 0\n",
			"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n",
		}, 256 << 20, 3000, 2},
		"version 1, a container that sees the host's name": {"4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n", map[string]string{
			"memory/memory.limit_in_bytes": "1048576\n", "memory/memory.usage_in_bytes": "9\n", "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 1 << 20, 9, math.Inf(1)},
		"nonsense": {"x\n0::\n4:memory\n", map[string]string{"memory.max": "-5", "cpu.max": "max"}, 0, 0, math.Inf(1)},
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
			if limit, used := g.memory(); limit != c.limit || used != c.used {
				t.Errorf("memory %d, used %d; want %d and %d", limit, used, c.limit, c.used)
			}
			if p := g.processors(); p != c.processors {
				t.Errorf("%v processors, want %v", p, c.processors)
			}
		})
	}
}
