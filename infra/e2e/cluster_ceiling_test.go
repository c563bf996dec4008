package e2e

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
)

// The lines between which README.md says what a deployment carries.
const (
	ceilingBegin = "<!-- ceiling: written by make prove -->"
	ceilingEnd   = "<!-- end of ceiling -->"
)

// ceilingRoles are what an entry costs something, in the order of a frame's way.
var ceilingRoles = []string{"gateway", "bus", "worker", "origin", "control"}

// spare is the part of a core that stays free: for take-overs, and for what comes all at once.
const spare = 0.3

// ceiling is what entries cost a cluster, and what follows from it.
type ceiling struct {
	entries int
	// roles are CPU seconds per entry and minute, and MB per entry, of all processes of a role
	// together, without what they take idle.
	roles map[string]cost
	// most and least are entries of a worker, moved is how long it took until all of one that
	// left were owned again, leases is renewals a second.
	most, least int
	moved       time.Duration
	leases      float64
}

// perCore is how many entries one core of a role carries with nothing to spare, 0 when it is not
// known: 60 s of a minute by what an entry takes of them.
func (c ceiling) perCore(role string) float64 {
	if cpu := c.roles[role].cpu; cpu > 0 {
		return 60 / cpu
	}
	return 0
}

// hardly is MB per entry that are no more than the noise of measuring them.
const hardly = 0.01

// perGiB is how many entries one GiB of a role holds, 0 when it is not known.
func (c ceiling) perGiB(role string) float64 {
	if memory := c.roles[role].memory; memory >= hardly {
		return 1024 / memory
	}
	return 0
}

// carries is what processes of a role carry together, and what bounds it. One of them may be away,
// unless there is one alone; a bus of three works as one.
func (c ceiling) carries(role string, processes, cores int, gib float64) (entries int, bound string) {
	working := processes
	if processes > 1 && role != "bus" {
		working--
	}
	byCPU := math.Inf(1)
	if n := c.perCore(role); n > 0 {
		byCPU = float64(working*cores) * (1 - spare) * n
	}
	byMemory := math.Inf(1)
	if n := c.perGiB(role); n > 0 {
		byMemory = float64(working) * gib * n
	}
	switch {
	case math.IsInf(min(byCPU, byMemory), 1):
		return math.MaxInt, "nothing"
	case byMemory < byCPU:
		return int(byMemory + 1e-6), fmt.Sprintf("%d × %.0f GiB × %.0f", working, gib, c.perGiB(role))
	}
	return int(byCPU + 1e-6), fmt.Sprintf("%d × %d cores × %.1f × %.0f", working, cores, 1-spare, c.perCore(role))
}

// text is what README.md says.
func (c ceiling) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured with %d entries of 300 kbit/s, passed through, in parts of %v (`part.duration`), from encoders that send each %v\n"+
		"what they have, on three bus nodes that all keep everything, on one host of %d cores with store and encoders\n"+
		"(`TestClusterManyEntries`). Three workers owned between %d and %d each; when one was told to end, all entries\n"+
		"were owned again after %s. Leases cost the bus %.0f writes a second, one for each entry in %.1f s.\n"+
		"What all processes of a role take together, beyond what they take without entries:\n\n",
		c.entries, manyPart, batchEvery, runtime.NumCPU(), c.least, c.most, secondsText(c.moved), c.leases, float64(c.entries)/c.leases)
	b.WriteString("| role | CPU s per entry and minute | entries per core | MB per entry | entries per GiB |\n|---|---|---|---|---|\n")
	for _, role := range ceilingRoles {
		fmt.Fprintf(&b, "| %s | %.3f | %s | %.2f | %s |\n", role, max(0, c.roles[role].cpu), whole(c.perCore(role)), max(0, c.roles[role].memory), whole(c.perGiB(role)))
	}
	b.WriteString("\nEntries per core are 60 s by the CPU seconds, entries per GiB 1024 by the MB. A role carries the smaller of processes × cores × 0.7 × entries\n" +
		"per core and processes × GiB × entries per GiB, with one process fewer than there are, because one may be away (a bus of three works\n" +
		"as one, with the cores of all). Two gateways, three workers, two origins, three bus nodes and a control plane of 2 cores and 4 GiB each:\n\n")
	least, tight := math.MaxInt, ""
	for _, role := range ceilingRoles {
		n, how := c.carries(role, map[string]int{"gateway": 2, "bus": 3, "worker": 3, "origin": 2, "control": 1}[role], 2, 4)
		if n == math.MaxInt {
			continue
		}
		fmt.Fprintf(&b, "* %s: %s = %d\n", role, how, n)
		if n < least {
			least, tight = n, role
		}
	}
	fmt.Fprintf(&b, "\nThe ceiling is the smallest of these: %d entries, by the %s. Bytes cost more than entries do: for streams of 5 Mbit/s take the\nfigures of `make bench`.\n", least, tight)
	return b.String()
}

func whole(n float64) string {
	if n <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", n)
}

func secondsText(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// tell writes it into README.md.
func (c ceiling) tell(t testing.TB) {
	t.Helper()
	document, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	with, err := check.Between(string(document), ceilingBegin, ceilingEnd, func(string) string { return c.text() })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(readme, []byte(with), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCeiling holds the arithmetic, and that README.md has a place for it.
func TestCeiling(t *testing.T) {
	c := ceiling{entries: 200, most: 70, least: 60, moved: 8 * time.Second, leases: 200, roles: map[string]cost{
		"gateway": {cpu: 0.06, memory: 0.5}, "bus": {cpu: 0.3, memory: 4}, "worker": {cpu: 0.12, memory: 16}, "origin": {cpu: 0.03, memory: 0.001}, "control": {},
	}}
	for role, want := range map[string]struct {
		processes, entries int
		how                string
	}{
		"gateway": {2, 1400, "1 × 2 cores × 0.7 × 1000"}, "bus": {3, 840, "3 × 2 cores × 0.7 × 200"},
		"worker": {3, 512, "2 × 4 GiB × 64"}, "origin": {2, 2800, "1 × 2 cores × 0.7 × 2000"}, "control": {1, math.MaxInt, "nothing"},
	} {
		if n, how := c.carries(role, want.processes, 2, 4); n != want.entries || how != want.how {
			t.Errorf("%s carries %d (%s), want %d (%s)", role, n, how, want.entries, want.how)
		}
	}
	text := c.text()
	for _, want := range []string{"| worker | 0.120 | 500 | 16.00 | 64 |\n", "| control | 0.000 | – | 0.00 | – |\n", "The ceiling is the smallest of these: 512 entries, by the worker."} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	document, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	if with, err := check.Between(string(document), ceilingBegin, ceilingEnd, func(string) string { return text }); err != nil || !strings.Contains(with, text) {
		t.Errorf("README.md: %v", err)
	}
}
