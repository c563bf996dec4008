package check

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Table is what a test has measured, to be printed at its end.
type Table struct {
	Title string
	rows  [][3]string
}

// Add adds a figure. limit is what is promised; it may be empty.
func (t *Table) Add(name string, value any, limit string) {
	if d, ok := value.(time.Duration); ok {
		value = d.Round(time.Millisecond)
	}
	t.rows = append(t.rows, [3]string{name, fmt.Sprint(value), limit})
}

// AddStalls adds the stalls of each fault as one viewer saw them.
func (t *Table) AddStalls(viewer string, s Stalls, limit string) {
	t.Add(viewer+": lateness without faults", s.Median, "")
	for _, f := range s.ByFault {
		t.Add(fmt.Sprintf("%s: stall after %s (segment %d)", viewer, f.Fault, f.Seq), f.By, limit)
	}
}

// AddAudit adds the outcome of a frame audit.
func (t *Table) AddAudit(name string, a Audit) {
	for _, k := range []struct {
		kind string
		TrackAudit
	}{{"video", a.Video}, {"audio", a.Audio}} {
		t.Add(name+" "+k.kind, fmt.Sprintf("%d sent, %d stored, lost %s, tail %d, doubled %s, disordered %s, unknown %d",
			k.Sent, k.Stored, numbers(k.Lost), k.Tail, numbers(k.Doubled), numbers(k.Disordered), k.Unknown), "")
	}
}

func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.Title)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", r[0], r[1], r[2])
	}
	w.Flush()
	return b.String()
}
