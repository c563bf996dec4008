package check

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"
)

// Proving reports whether tests run at their stated length, as "make prove" has them.
func Proving() bool { return os.Getenv("KLIVE_PROVE") == "1" }

// Length is how long, or how much, a test is: as stated when proving, short otherwise.
func Length[T int | time.Duration](stated, short T) T {
	if Proving() {
		return stated
	}
	return short
}

// Checks is how many draws a test of properties (rapid) makes from here to its end: few as part
// of all tests, many when proving. Tests that run beside others can't use it.
func Checks(t testing.TB, few, many int) {
	t.Helper()
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(Length(many, few)), "rapid.nofailfile": "true"} {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
}
