package check

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Promise is what one test found of one row of the promise table: what a deployment loses under a
// fault. A figure below zero was not measured.
type Promise struct {
	Test string
	// Lost and Doubled are access units; those that an encoder did not send again after its
	// connection broke are none.
	Lost, Doubled int
	// Stall is the longest delay at the live edge beyond its median without faults, Recovery the
	// longest time from a fault until items come in time again.
	Stall, Recovery time.Duration
	Held            bool
}

// Unmeasured is a promise without figures.
func Unmeasured(test string) *Promise {
	return &Promise{Test: test, Lost: -1, Doubled: -1, Stall: -1, Recovery: -1}
}

// onTime is how late an item may be, beyond the median, and still be in time.
const onTime = time.Second

// Recovered is the longest time from a fault until the live edge is in time again: each run of late
// items counts from the last fault before its first one was listed to the first listing of the item
// behind it. It is 0 when nothing came late, and ok is false when the edge never came back.
func Recovered(items []Item, faults []Fault) (d time.Duration, ok bool) {
	if len(faults) == 0 {
		return 0, true
	}
	limit := MeasureStalls(items, faults).Median + onTime
	ok = true
	var since time.Time
	for _, l := range latenesses(items) {
		switch {
		case l.listed.Before(faults[0].At):
		case l.by > limit && ok:
			ok = false
			for _, f := range faults {
				if !f.At.After(l.listed) {
					since = f.At
				}
			}
		case l.by <= limit && !ok:
			d, ok = max(d, l.listed.Sub(since)), true
		}
	}
	return d, ok
}

// Row is a line of the promise table: a fault, what is promised, and the tests that show it.
type Row struct {
	Fault, Promise string
	Tests          []string
}

// Report is the promise table with what a run of tests has measured. Its methods may be called by
// several goroutines.
type Report struct {
	Rows []Row

	mu    sync.Mutex // guards the field below
	found map[string]Promise
}

// Add takes what a test found.
func (r *Report) Add(p Promise) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[string]Promise{}
	}
	r.found[p.Test] = p
}

// Empty reports whether no test of the table has run.
func (r *Report) Empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.found) == 0
}

// reportHead begins the table.
const reportHead = "| fault | promise | shown by | lost | doubled | stall | recovered after | held |\n|---|---|---|---|---|---|---|---|\n"

// Lines are the table's lines in Markdown, one for each test of each row in the table's order.
// What this run did not measure is taken from an older table, so that a run of one test changes
// one line.
func (r *Report) Lines(older string) string {
	before := map[string]string{}
	for line := range strings.Lines(older) {
		if cells := strings.Split(line, "|"); len(cells) == 10 {
			before[strings.TrimSpace(cells[3])] = strings.TrimRight(strings.Join(cells[4:], "|"), "\n")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString(reportHead)
	for _, row := range r.Rows {
		for _, test := range row.Tests {
			p, ok := r.found[test]
			if old := before["`"+test+"`"]; !ok && old != "" {
				fmt.Fprintf(&b, "| %s | %s | `%s` |%s\n", row.Fault, row.Promise, test, old)
				continue
			}
			held := "not run"
			if !ok {
				p = *Unmeasured(test)
			} else if held = "**no**"; p.Held {
				held = "yes"
			}
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s | %s | %s |\n", row.Fault, row.Promise, test, figure(p.Lost), figure(p.Doubled), seconds(p.Stall), seconds(p.Recovery), held)
		}
	}
	return b.String()
}

func figure(n int) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// The lines between which a document holds the table.
const (
	ReportBegin = "<!-- promises: written by make prove -->"
	ReportEnd   = "<!-- end of promises -->"
)

// Into puts the table into a document, between [ReportBegin] and [ReportEnd].
func (r *Report) Into(document string) (string, error) {
	return Between(document, ReportBegin, ReportEnd, r.Lines)
}

// Between replaces what stands in a document between two lines by what text makes of it.
func Between(document, begin, end string, text func(older string) string) (string, error) {
	before, rest, ok := strings.Cut(document, begin+"\n")
	older, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("check: the document has no place for this: want the lines %q and %q", begin, end)
	}
	return before + begin + "\n" + text(older) + end + after, nil
}
