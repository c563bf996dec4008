package check

import (
	"slices"
	"time"
)

// Fault is something that was done to a deployment.
type Fault struct {
	Name string
	At   time.Time
	// Until is the end of a fault that lasts; zero is one of a moment.
	Until time.Time
}

func (f Fault) end() time.Time {
	if f.Until.IsZero() {
		return f.At
	}
	return f.Until
}

// Stalls is how late items were listed. An item's lateness is the moment when it was first
// listed minus its media end; a stall is the most by which lateness exceeds its median
// without faults.
type Stalls struct {
	// Median is the lateness of the items that were listed before the first fault, or of all
	// items when that are fewer than three.
	Median time.Duration
	// Items counts those that were measured.
	Items int
	// ByFault are the stalls of the items listed from each fault until the next.
	ByFault []Stall
	// Worst is the largest of all.
	Worst Stall
}

// Stall is a delay at the live edge.
type Stall struct {
	Fault string
	Seq   uint64 // the item that came late
	By    time.Duration
}

type lateness struct {
	seq    uint64
	listed time.Time
	by     time.Duration
}

// MeasureStalls measures items in the order of media sequence; faults are in the order of
// time. With PROGRAM-DATE-TIME on each item its end is the sum of that and its duration;
// an item without one continues the item before it.
func MeasureStalls(items []Item, faults []Fault) Stalls {
	late := latenesses(items)
	out := Stalls{Items: len(late)}
	calm := late
	if len(faults) > 0 {
		calm = slices.DeleteFunc(slices.Clone(late), func(l lateness) bool { return !l.listed.Before(faults[0].At) })
	}
	if len(calm) < 3 {
		calm = late
	}
	out.Median = median(calm)
	out.Worst.By = -time.Hour
	out.ByFault = make([]Stall, len(faults))
	for i, f := range faults {
		out.ByFault[i] = Stall{Fault: f.Name, By: -time.Hour}
	}
	for _, l := range late {
		s := Stall{Fault: "no fault", Seq: l.seq, By: l.by - out.Median}
		for i := len(faults) - 1; i >= 0; i-- {
			if !l.listed.Before(faults[i].At) {
				s.Fault = faults[i].Name
				out.ByFault[i] = later(out.ByFault[i], s)
				break
			}
		}
		out.Worst = later(out.Worst, s)
	}
	return out
}

func later(a, b Stall) Stall {
	if b.By > a.By {
		return b
	}
	return a
}

func latenesses(items []Item) []lateness {
	var out []lateness
	var end time.Time
	for _, it := range items {
		begin := it.Time
		if begin.IsZero() {
			begin = end
		}
		if begin.IsZero() {
			continue
		}
		end = begin.Add(it.Duration)
		out = append(out, lateness{it.Seq, it.FirstListed, it.FirstListed.Sub(end)})
	}
	return out
}

func median(late []lateness) time.Duration {
	if len(late) == 0 {
		return 0
	}
	by := make([]time.Duration, len(late))
	for i, l := range late {
		by[i] = l.by
	}
	slices.Sort(by)
	return by[len(by)/2]
}
