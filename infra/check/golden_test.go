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
	together := append(calls, Call{begin.Add(66 * time.Second), "livestream", "registerMediaServer", map[string]string{"entryId": "0_other"}})
	if err := compareCalls("66s livestream.registermediaserver entryId=0_other\n"+good, together, begin); err != nil {
		t.Errorf("calls made at one time: %v", err)
	}
	start := []Call{{begin, "baseEntry", "update", map[string]string{"baseEntry:currentBroadcastStartTime": "1767225630.700"}}}
	if got := FormatCalls(start, begin); got != "0.0s baseentry.update baseEntry:currentBroadcastStartTime=@30.7s\n" {
		t.Errorf("a moment is written %q", got)
	}
	for at, ok := range map[string]bool{"@30s": true, "@32s": false, "30.7s": false} {
		if err := compareCalls("0s baseentry.update baseEntry:currentBroadcastStartTime="+at, start, begin); (err == nil) != ok {
			t.Errorf("%s: %v", at, err)
		}
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
