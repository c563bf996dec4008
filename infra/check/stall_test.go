package check

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/media"
)

// listedItems makes n segments of 2 s, each listed 300 ms after its end and by as much more
// as late says of its number.
func listedItems(n int, begin time.Time, late map[uint64]time.Duration) []Item {
	var out []Item
	for i := range n {
		seq, at := uint64(i+1), begin.Add(time.Duration(i)*2*time.Second)
		it := Item{Seq: seq, Duration: 2 * time.Second, FirstListed: at.Add(2300*time.Millisecond + late[seq])}
		if i%3 == 0 {
			it.Time = at // the others continue it
		}
		out = append(out, it)
	}
	return out
}

func TestStalls(t *testing.T) {
	begin := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	items := listedItems(20, begin, map[uint64]time.Duration{10: 2500 * time.Millisecond, 11: 700 * time.Millisecond, 15: time.Second})
	faults := []Fault{{Name: "one", At: begin.Add(19 * time.Second)}, {Name: "two", At: begin.Add(28 * time.Second)}}
	got := MeasureStalls(items, faults)
	want := Stalls{
		Median: 300 * time.Millisecond, Items: 20,
		ByFault: []Stall{{"one", 10, 2500 * time.Millisecond}, {"two", 15, time.Second}},
		Worst:   Stall{"one", 10, 2500 * time.Millisecond},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStallsWithoutFaults(t *testing.T) {
	begin := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	got := MeasureStalls(listedItems(9, begin, map[uint64]time.Duration{4: 40 * time.Millisecond}), nil)
	if want := (Stall{"no fault", 4, 40 * time.Millisecond}); got.Worst != want || got.Median != 300*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestContinuous(t *testing.T) {
	begin := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	items := listedItems(5, begin, nil)
	if err := Continuous(items); err != nil {
		t.Error(err)
	}
	gap := listedItems(5, begin, nil)
	gap[2].Gap = true
	for name, bad := range map[string][]Item{
		"missing": append(items[:2:2], items[3:]...), "doubled": append(items[:3:3], items[2:]...), "gap": gap,
	} {
		if Continuous(bad) == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestUnsent(t *testing.T) {
	var sent []Sent
	for n := range uint64(20) {
		sent = append(sent, Sent{Kind: media.Video, Number: n, Run: 1 + int(n/10)})
	}
	connects := []Connect{{Err: ErrNoPlaylist}, {}}
	breaks, others := Unsent(sent, media.Video, []uint64{3, 8, 9, 19}, connects)
	if diff := cmp.Diff([][]uint64{{8, 9}, {3, 19}}, [][]uint64{breaks, others}); diff != "" {
		t.Error(diff)
	}
}
