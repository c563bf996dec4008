package check

import "testing"

// Calculation skips a test under the race detector: what it calculates has nothing for the
// detector that other tests don't show it, and takes it ten times as long. "make test-unit" runs it without, by its name.
func Calculation(t testing.TB) {
	t.Helper()
	if RaceDetector {
		t.Skip("SKIP: goes without the race detector, next in make test-unit")
	}
}
