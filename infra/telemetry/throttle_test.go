package telemetry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestThrottle lets one line a minute through for each key, counts the others, and remembers no more keys than it may.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		pass := func(key string, held int, ok bool) {
			t.Helper()
			if h, o := th.Pass(key); h != held || o != ok {
				t.Errorf("%s: %d held back, %v; want %d, %v", key, h, o, held, ok)
			}
		}
		pass("192.0.2.1", 0, true)
		for range 5 {
			pass("192.0.2.1", 0, false)
		}
		pass("192.0.2.2", 0, true)
		time.Sleep(time.Minute)
		pass("192.0.2.1", 5, true)
		pass("192.0.2.1", 0, false)
		pass("192.0.2.2", 0, true)

		for i := range 3 * maxThrottled {
			th.Pass(fmt.Sprint(i))
		}
		if n := len(th.keys); n > maxThrottled+1 {
			t.Errorf("%d keys are remembered", n)
		}
		if h, ok := th.Pass("another"); ok {
			t.Errorf("one key too many: %d, %v", h, ok)
		}
		time.Sleep(2 * time.Minute)
		pass("another", 0, true)
		pass("another", 0, false)
	})
}
