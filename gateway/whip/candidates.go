package whip

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// orderCandidates puts a section's candidates in the order of their priorities, which is not that in which they are found.
// ffmpeg tries the first one alone, and gives up when that is one of TCP.
func orderCandidates(m *sdp.MediaDescription) {
	var places []int
	var list []sdp.Attribute
	for i, a := range m.Attributes {
		if a.Key == "candidate" {
			places, list = append(places, i), append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b sdp.Attribute) int { return cmp.Compare(priority(b.Value), priority(a.Value)) })
	for n, i := range places {
		m.Attributes[i] = list[n]
	}
}

// priority is that of a candidate (RFC 8839 §5.1); 0 when it has none.
func priority(candidate string) uint64 {
	fields := strings.Fields(candidate)
	if len(fields) < 4 {
		return 0
	}
	n, err := strconv.ParseUint(fields[3], 10, 32)
	if err != nil {
		return 0
	}
	return n
}
