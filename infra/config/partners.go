package config

import (
	"errors"
	"strconv"
	"strings"
)

var errPartners = errors.New(`want partners with their numbers of streams, such as "102:50,103:5"`)

// parsePartners reads "102:50,103:5".
func parsePartners(text string) (map[int]int, error) {
	out := map[int]int{}
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		partner, most, ok := strings.Cut(strings.TrimSpace(one), ":")
		p, errP := strconv.ParseUint(partner, 10, 31)
		n, errN := strconv.ParseUint(most, 10, 20)
		if _, twice := out[int(p)]; !ok || errP != nil || errN != nil || twice {
			return nil, errPartners
		}
		out[int(p)] = int(n)
	}
	return out, nil
}
