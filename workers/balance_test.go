package workers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/live"
)

// herd are workers that decide by beats which are old by up to half a second.
type herd struct {
	at       time.Time
	owned    [][]candidate // by worker
	balance  []balancer
	told     []worker // as the newest beats say
	beatAt   []time.Time
	moves    []time.Time
	byWorker []time.Time // the last move of each
}

const herdMoveEvery = 10 * time.Second

func drawHerd(t *rapid.T) *herd {
	h := &herd{at: time.Unix(0, 0)}
	for i := range rapid.IntRange(2, 6).Draw(t, "workers") {
		var mine []candidate
		for range rapid.IntRange(0, 12).Draw(t, "entries") {
			mine = append(mine, candidate{owner: &owner{}, load: int64(rapid.SampledFrom([]int{0, 1, 4, 8, 20}).Draw(t, "mbit")) * 1e6})
		}
		h.owned = append(h.owned, mine)
		h.beatAt = append(h.beatAt, h.at.Add(time.Duration(rapid.IntRange(0, 499).Draw(t, "phase"))*time.Millisecond))
		h.told = append(h.told, h.share(i))
	}
	h.balance, h.byWorker = make([]balancer, len(h.owned)), make([]time.Time, len(h.owned))
	return h
}

func (h *herd) share(i int) worker {
	w := worker{name: fmt.Sprint("w", i), open: true, WorkerBeat: live.WorkerBeat{Owned: len(h.owned[i])}}
	for _, c := range h.owned[i] {
		w.Load += c.load
	}
	return w
}

// step lets half a second pass, in hundreds of milliseconds.
func (h *herd) step(t *rapid.T) {
	for range 5 {
		h.at = h.at.Add(100 * time.Millisecond)
		for i := range h.owned {
			if !h.at.Before(h.beatAt[i]) {
				h.told[i], h.beatAt[i] = h.share(i), h.beatAt[i].Add(500*time.Millisecond)
			}
		}
	}
	for i := range h.owned {
		peers := slices.Delete(slices.Clone(h.told), i, i+1)
		o, to := h.balance[i].decide(h.at, h.share(i), h.owned[i], peers, herdMoveEvery)
		if o == nil {
			continue
		}
		j := slices.IndexFunc(h.told, func(w worker) bool { return w.name == to })
		if last := h.byWorker[i]; !last.IsZero() && h.at.Sub(last) < herdMoveEvery {
			t.Fatalf("w%d gave two entries away within %v", i, h.at.Sub(last))
		}
		h.byWorker[i] = h.at
		h.moves = append(h.moves, h.at)
		k := slices.IndexFunc(h.owned[i], func(c candidate) bool { return c.owner == o })
		c := h.owned[i][k]
		h.owned[i] = slices.Delete(h.owned[i], k, k+1)
		h.owned[j] = append(h.owned[j], c)
		// Entries that have just come stay for a while; the pool sees to that.
	}
}

// energy falls with each useful move.
func (h *herd) energy() (sum int) {
	for _, mine := range h.owned {
		sum += len(mine) * len(mine)
	}
	return sum
}

// TestSpreadDoesNotFlap lets workers with any share even out: each move makes the shares more
// alike, the moves end, and what is left is fair or can't be helped by a move.
func TestSpreadDoesNotFlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHerd(t)
		total, quiet := 0, h.at
		for h.at.Sub(quiet) < time.Minute {
			before, moved := h.energy(), len(h.moves)
			h.step(t)
			if n := len(h.moves) - moved; n > 0 {
				quiet = h.at
				total += n
				if after := h.energy(); after >= before {
					t.Fatalf("move %d made the shares less alike: %d after %d", total, after, before)
				}
			}
			if total > 200 {
				t.Fatal("the moves don't end")
			}
		}
		for i := range h.owned {
			for j := range h.owned {
				me, to := h.share(i), h.share(j)
				if me.Owned >= to.Owned+unfair && most(&me, others(h, i)) && fewest(others(h, i)).name == to.name &&
					lightens(h.owned[i], me.Weight()-to.Weight()) != nil {
					t.Fatalf("w%d has %d entries, w%d %d, and none moves", i, me.Owned, j, to.Owned)
				}
			}
		}
	})
}

func others(h *herd, i int) (out []worker) {
	for j := range h.owned {
		if j != i {
			out = append(out, h.share(j))
		}
	}
	return out
}

func TestNobodyGivesToTheClosed(t *testing.T) {
	var b balancer
	me := worker{name: "a", open: true, WorkerBeat: live.WorkerBeat{Owned: 5}}
	mine := []candidate{{owner: &owner{}}}
	for at := time.Unix(0, 0); at.Before(time.Unix(60, 0)); at = at.Add(time.Second) {
		if o, to := b.decide(at, me, mine, []worker{{name: "b"}}, herdMoveEvery); o != nil {
			t.Fatalf("gave an entry to %s, which takes none", to)
		}
	}
	if successors([]*owner{{}}, []worker{{name: "b"}})[nil] != "" || least(nil) != nil {
		t.Error("a closed worker is a successor")
	}
}

func TestTurnsDifferByEntry(t *testing.T) {
	a, b := worker{name: "a", open: true}, worker{name: "b", open: true}
	first := 0
	for i := range 1000 {
		if e := fmt.Sprint("0_", i); before(&a, &b, e) {
			first++
		} else if !before(&b, &a, e) {
			t.Fatal("nobody is first")
		}
	}
	if first < 400 || first > 600 {
		t.Errorf("of 1000 entries one of two equal workers is first for %d", first)
	}
	b.Owned = 1
	if !before(&a, &b, "0_x") || before(&b, &a, "0_x") {
		t.Error("the one with more to do is first")
	}
	a.open = false
	if before(&a, &b, "0_x") {
		t.Error("one that takes nothing is first")
	}
}
