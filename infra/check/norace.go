//go:build !race

package check

// RaceDetector reports whether the program was built with it.
const RaceDetector = false
