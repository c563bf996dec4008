package check

import (
	"strings"
	"testing"
	"time"
)

func TestRecovered(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	items := func(late ...time.Duration) (out []Item) {
		for i, l := range late {
			at := begin.Add(time.Duration(i) * 4 * time.Second)
			out = append(out, Item{Seq: uint64(i + 1), Time: at, Duration: 4 * time.Second, FirstListed: at.Add(4*time.Second + 300*time.Millisecond + l)})
		}
		return out
	}
	faults := []Fault{{Name: "kill", At: begin.Add(18 * time.Second)}, {Name: "kill", At: begin.Add(34 * time.Second)}}
	for name, c := range map[string]struct {
		late []time.Duration
		want time.Duration
		ok   bool
	}{
		"nothing late":    {[]time.Duration{0, 0, 0, 0, 0, 0, 0}, 0, true},
		"one late":        {[]time.Duration{0, 0, 0, 0, 2500 * time.Millisecond, 0, 0}, 6300 * time.Millisecond, true},
		"two late":        {[]time.Duration{0, 0, 0, 0, 5 * time.Second, 2 * time.Second, 0}, 10300 * time.Millisecond, true},
		"never in time":   {[]time.Duration{0, 0, 0, 0, 3 * time.Second, 3 * time.Second, 3 * time.Second}, 0, false},
		"late twice":      {[]time.Duration{0, 0, 0, 0, 2500 * time.Millisecond, 0, 0, 0, 2500 * time.Millisecond, 0}, 6300 * time.Millisecond, true},
		"late the second": {[]time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 5 * time.Second, 2 * time.Second, 0}, 10300 * time.Millisecond, true},
		"a little behind": {[]time.Duration{0, 0, 0, 0, 900 * time.Millisecond, 0, 0}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			if d, ok := Recovered(items(c.late...), faults); d != c.want || ok != c.ok {
				t.Errorf("%v, %v; want %v, %v", d, ok, c.want, c.ok)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := &Report{Rows: []Row{
		{"kill −9 an owner", "another owns it within 3 s", []string{"TestA", "TestB"}},
		{"disk full", "a clear error", []string{"TestC"}},
	}}
	if !r.Empty() {
		t.Error("a new report is not empty")
	}
	r.Add(Promise{Test: "TestA", Lost: 0, Doubled: 0, Stall: 2340 * time.Millisecond, Recovery: 4 * time.Second, Held: true})
	document := "# Title\n\n" + ReportBegin + "\n" + ReportEnd + "\n\nrest\n"
	first, err := r.Into(document)
	if err != nil || !strings.HasPrefix(first, "# Title\n\n") || !strings.HasSuffix(first, ReportEnd+"\n\nrest\n") {
		t.Fatalf("%v\n%s", err, first)
	}
	for _, want := range []string{
		"| kill −9 an owner | another owns it within 3 s | `TestA` | 0 | 0 | 2.3 s | 4.0 s | yes |\n",
		"| `TestB` | – | – | – | – | not run |\n", "| disk full | a clear error | `TestC` |",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("there is no %q in\n%s", want, first)
		}
	}
	// Another run changes its own line alone.
	next := &Report{Rows: r.Rows}
	failed := Unmeasured("TestC")
	next.Add(*failed)
	second, err := next.Into(first)
	if err != nil || !strings.Contains(second, "`TestA` | 0 | 0 | 2.3 s | 4.0 s | yes |") || !strings.Contains(second, "`TestC` | – | – | – | – | **no** |") {
		t.Errorf("%v\n%s", err, second)
	}
	if again, err := next.Into(second); err != nil || again != second {
		t.Errorf("written twice it changes: %v", err)
	}
	renamed := &Report{Rows: []Row{{"kill −9 an owner, or two", "another owns it", []string{"TestA"}}}}
	if third, err := renamed.Into(second); err != nil || !strings.Contains(third, "| kill −9 an owner, or two | another owns it | `TestA` | 0 | 0 | 2.3 s | 4.0 s | yes |\n") {
		t.Errorf("figures do not follow their row's new name: %v\n%s", err, third)
	}
	if _, err := r.Into("no place"); err == nil {
		t.Error("a document without a place for it")
	}
}
