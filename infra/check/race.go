//go:build race

package check

// RaceDetector reports whether the program was built with it. Calculations that have nothing
// for it to find take it ten times as long.
const RaceDetector = true
