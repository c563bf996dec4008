package check

import (
	"fmt"
	"slices"
	"strconv"
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
		fmt.Fprintf(&b, "%.1fs %s\n", c.At.Sub(begin).Seconds(), strings.Join(c.words(begin), " "))
	}
	return b.String()
}

// words are the call and its parameters in order. A moment among them is written "@12.3s", from
// begin.
func (c Call) words(begin time.Time) []string {
	words := []string{strings.ToLower(c.Service + "." + c.Action)}
	var params []string
	for k, v := range c.Params {
		switch {
		case slices.Contains(volatile, k):
			continue
		case k == "token" || k == "secret":
			v = "***"
		case strings.HasSuffix(k, ":currentBroadcastStartTime"):
			if at, err := strconv.ParseFloat(v, 64); err == nil {
				v = fmt.Sprintf("@%.1fs", at-float64(begin.UnixMilli())/1000)
			}
		}
		params = append(params, k+"="+v)
	}
	slices.Sort(params)
	return append(words, params...)
}

// sameWord reports whether two words say the same, a moment within the slack.
func sameWord(a, b string) bool {
	key, at, _ := strings.Cut(a, "=@")
	other, then, _ := strings.Cut(b, "=@")
	x, err := time.ParseDuration(at)
	y, oops := time.ParseDuration(then)
	if err != nil || oops != nil {
		return a == b
	}
	return key == other && (x-y).Abs() <= callSlack
}

// compareCalls holds calls against a list in the form of [FormatCalls]; '#' begins a
// comment line. Calls that are made at one time may come in any order.
func compareCalls(want string, calls []Call, begin time.Time) error {
	used := make([]bool, len(calls))
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
		found := false
		for i := range calls {
			if slip := calls[i].At.Sub(begin) - at; !used[i] && slip.Abs() <= callSlack && slices.EqualFunc(calls[i].words(begin), strings.Fields(rest), sameWord) {
				used[i], found = true, true
				break
			}
		}
		if !found {
			return fmt.Errorf("there is no call %q; the log is:\n%s", line, FormatCalls(calls, begin))
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return fmt.Errorf("call %d is too much; the log is:\n%s", i+1, FormatCalls(calls, begin))
	}
	return nil
}
