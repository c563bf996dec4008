package telemetry

import "strconv"

// Count is a number of things for people to read: "1 stream", "2 streams".
func Count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + several
}
