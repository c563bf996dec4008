package gateway

import (
	"strings"
	"testing"
	"time"
)

// TestRefusalsAreToldOnce: an encoder that tries a wrong token again and again is one warning a minute, which says how
// often it was; another host, and another fault, is a warning of its own.
func TestRefusalsAreToldOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		warnings := func(text string) (n int) {
			for line := range strings.Lines(w.log.String()) {
				if strings.Contains(line, "level=WARN") && strings.Contains(line, text) {
					n++
				}
			}
			return n
		}
		refuse := func(peer, text string) {
			t.Helper()
			err := g.refused(w.cfg.Log.With("peer", peer), peer, "connect refused", &Refusal{Reason: ReasonAuth, Text: text})
			if reason(err) != ReasonAuth {
				t.Errorf("refused with %v", err)
			}
		}
		for range 10 {
			refuse("192.0.2.1:5000", "the token is wrong")
			refuse("192.0.2.1:5001", "the token is wrong")
		}
		if n := warnings("the token is wrong"); n != 1 {
			t.Errorf("%d warnings of one host", n)
		}
		refuse("192.0.2.2:5000", "the token is wrong")
		refuse("192.0.2.1:5000", "there is no such entry")
		if n := warnings("connect refused"); n != 3 {
			t.Errorf("%d warnings, want those of two hosts and two faults", n)
		}
		time.Sleep(time.Minute)
		refuse("192.0.2.1:5002", "the token is wrong")
		if warnings("repeats=19") != 1 {
			t.Errorf("the log does not say how often:\n%s", w.log.String())
		}
	})
}
