package kaltura

import (
	"math"
	"strconv"
	"strings"
)

// leadingInt reads the integer that text starts with, as PHP does: "12abc" is 12,
// text without digits is 0. A value out of range is held at the limit.
func leadingInt(text string) int64 {
	text = strings.TrimLeft(text, " \t\r\n")
	end := 0
	if end < len(text) && (text[end] == '-' || text[end] == '+') {
		end++
	}
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	// ParseInt holds the value at the limit when it is out of range.
	n, _ := strconv.ParseInt(text[:end], 10, 64)
	return n
}

// leadingFloat reads the decimal number that text starts with; 0 when there is none.
func leadingFloat(text string) float64 {
	text = strings.TrimSpace(text)
	for end := min(len(text), 64); end > 0; end-- {
		if f, err := strconv.ParseFloat(text[:end], 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	return 0
}

// truth reads a boolean: empty, "0" and "false" in any case are false, everything
// else is true (contract §1.3).
func truth(text string) bool {
	return text != "" && text != "0" && !strings.EqualFold(text, "false")
}
