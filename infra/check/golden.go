package check

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Call is one call that reached the API.
type Call struct {
	At time.Time
	// Service and Action are as they were called; their case doesn't matter.
	Service, Action string
	Params          map[string]string
}

// callSlack is how far a call may lie from the moment in the list.
const callSlack = time.Second

// volatile parameters differ in every run or say nothing about the call.
var volatile = []string{"ks", "kalsig", "clientTag", "apiVersion", "format", "ignoreNull"}

// FormatCalls writes a log of calls as lines "<seconds> <service>.<action> <key>=<value>…".
// Tokens are left out of it.
func FormatCalls(calls []Call, begin time.Time) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "%.1fs %s\n", c.At.Sub(begin).Seconds(), c.line())
	}
	return b.String()
}

func (c Call) line() string {
	words := []string{strings.ToLower(c.Service + "." + c.Action)}
	var params []string
	for k, v := range c.Params {
		if slices.Contains(volatile, k) {
			continue
		}
		if k == "token" || k == "secret" {
			v = "***"
		}
		params = append(params, k+"="+v)
	}
	slices.Sort(params)
	return strings.Join(append(words, params...), " ")
}

// compareCalls holds calls against a list in the form of [FormatCalls]; '#' begins a
// comment line.
func compareCalls(want string, calls []Call, begin time.Time) error {
	i := 0
	for line := range strings.Lines(want) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		moment, rest, _ := strings.Cut(line, " ")
		at, err := time.ParseDuration(moment)
		if err != nil {
			return fmt.Errorf("the list's line %q: %w", line, err)
		}
		if i == len(calls) {
			return fmt.Errorf("after %d calls %q is missing; the log is:\n%s", i, line, FormatCalls(calls, begin))
		}
		got := calls[i]
		if slip := got.At.Sub(begin) - at; got.line() != rest || slip.Abs() > callSlack {
			return fmt.Errorf("call %d is not %q; the log is:\n%s", i+1, line, FormatCalls(calls, begin))
		}
		i++
	}
	if i < len(calls) {
		return fmt.Errorf("there are %d calls too many; the log is:\n%s", len(calls)-i, FormatCalls(calls, begin))
	}
	return nil
}
