package check

import (
	"strings"
	"testing"
	"time"
)

func TestCompareCalls(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	calls := []Call{
		{begin.Add(300 * time.Millisecond), "liveStream", "authenticate", map[string]string{"entryId": "0_demolive", "token": "demo1234", "ks": "x"}},
		{begin.Add(65 * time.Second), "livestream", "registerMediaServer", map[string]string{"entryId": "0_demolive"}},
	}
	good := "# a broadcast\n0s livestream.authenticate entryId=0_demolive token=***\n\n65.9s livestream.registermediaserver entryId=0_demolive\n"
	if err := compareCalls(good, calls, begin); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"too few":   good + "70s livestream.unregistermediaserver\n",
		"too many":  strings.SplitAfter(good, "***\n")[0],
		"late":      strings.Replace(good, "65.9s", "66.1s", 1),
		"parameter": strings.Replace(good, "0_demolive token", "0_other token", 1),
		"moment":    strings.Replace(good, "65.9s", "soon", 1),
	} {
		err := compareCalls(want, calls, begin)
		if err == nil {
			t.Errorf("%s: the list was taken", name)
			continue
		}
		if strings.Contains(err.Error(), "demo1234") {
			t.Errorf("%s: the token stands in the error", name)
		}
	}
}
