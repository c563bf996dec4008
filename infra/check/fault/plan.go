package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Step is one fault of a random plan.
type Step struct {
	// At is when it begins, from the plan's start.
	At time.Duration
	// Kind is one of Kinds, Who what it is done to: the number of a process of its role.
	Kind string
	Who  int
	// For is how long it lasts; 0 is a moment.
	For time.Duration
}

func (s Step) String() string {
	text := fmt.Sprintf("%v %s %d", s.At.Round(100*time.Millisecond), s.Kind, s.Who)
	if s.For > 0 {
		text += " for " + s.For.Round(100*time.Millisecond).String()
	}
	return text
}

// Kinds are the faults of a plan, how many processes each can be done to, and how long it lasts
// at least and at most.
type Kinds []Kind

// Kind is a fault.
type Kind struct {
	Name        string
	Of          int
	Short, Long time.Duration
}

// RandomPlan draws faults for so long, each begun a while (rest and up to as much again) after the
// one before it has ended. The last one ends a rest before the plan does. The same seed draws the
// same plan.
func RandomPlan(seed uint64, length, rest time.Duration, kinds Kinds) []Step {
	r := rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))
	between := func(a, b time.Duration) time.Duration {
		if b <= a {
			return a
		}
		return a + time.Duration(r.Int64N(int64(b-a)))
	}
	var plan []Step
	var left []Kind // those that have not been drawn in this round: each comes before one comes again
	for at := between(rest/2, rest); ; {
		if len(left) == 0 {
			left = slices.Clone(kinds)
		}
		i := r.IntN(len(left))
		k := left[i]
		left = slices.Delete(left, i, i+1)
		s := Step{At: at, Kind: k.Name, Who: r.IntN(max(1, k.Of)), For: between(k.Short, k.Long)}
		if s.At+s.For+rest > length {
			return plan
		}
		plan = append(plan, s)
		at += s.For + between(rest, 2*rest)
	}
}

// PlanText is a plan, a line a step.
func PlanText(plan []Step) string {
	lines := make([]string, len(plan))
	for i, s := range plan {
		lines[i] = s.String()
	}
	return strings.Join(lines, "\n")
}
