package fault

import (
	"testing"
	"time"
)

// TestRandomPlan: the same seed draws the same plan, faults don't overlap, the end is quiet, and
// each kind has its turn.
func TestRandomPlan(t *testing.T) {
	kinds := Kinds{{"kill worker", 3, 0, 0}, {"kill bus", 3, 0, 0}, {"stop owner", 1, 5 * time.Second, 15 * time.Second}, {"store away", 1, 10 * time.Second, 30 * time.Second}}
	const length, rest = 20 * time.Minute, 15 * time.Second
	seen := map[string]bool{}
	for seed := range uint64(50) {
		plan := RandomPlan(seed, length, rest, kinds)
		if again := PlanText(RandomPlan(seed, length, rest, kinds)); again != PlanText(plan) {
			t.Fatalf("seed %d draws two plans:\n%s\n\n%s", seed, PlanText(plan), again)
		}
		if seen[PlanText(plan)] {
			t.Errorf("seed %d draws the plan of another one", seed)
		}
		seen[PlanText(plan)] = true
		if len(plan) < 20 {
			t.Errorf("seed %d: %d faults in 20 minutes", seed, len(plan))
		}
		drawn := map[string]int{}
		var end time.Duration
		for i, s := range plan {
			if i > 0 && s.At-end < rest {
				t.Errorf("seed %d: %v begins %v after the fault before it", seed, s, s.At-end)
			}
			end = s.At + s.For
			drawn[s.Kind]++
			k := kinds[0]
			for _, k = range kinds {
				if k.Name == s.Kind {
					break
				}
			}
			if s.Who < 0 || s.Who >= k.Of || s.For < k.Short || s.For > k.Long {
				t.Errorf("seed %d: %v does not fit %+v", seed, s, k)
			}
		}
		if end > length-rest {
			t.Errorf("seed %d: the last fault ends at %v", seed, end)
		}
		for _, k := range kinds {
			if n := drawn[k.Name]; n < len(plan)/len(kinds) {
				t.Errorf("seed %d: %s comes %d times among %d", seed, k.Name, n, len(plan))
			}
		}
	}
	if plan := RandomPlan(1, 10*time.Second, 15*time.Second, kinds); len(plan) != 0 {
		t.Errorf("a plan without time has %d faults", len(plan))
	}
}
