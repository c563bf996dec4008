package config

import "testing"

func TestPartners(t *testing.T) {
	l := Limits{PartnerStreams: 3, Partners: "102:50, 103:0"}
	for partner, want := range map[int]int{102: 50, 103: 0, 104: 3} {
		if got := l.PartnerStreamsOf(partner); got != want {
			t.Errorf("partner %d may have %d streams, want %d", partner, got, want)
		}
	}
	for _, bad := range []string{"102", "102:", ":5", "102:x", "102:5;103:6", "102:5,102:6", "-1:5"} {
		if _, err := parsePartners(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
