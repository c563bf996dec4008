package gateway

import (
	"fmt"
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
			err := g.refused(w.cfg.Log.With("peer", peer), &Connect{Protocol: "rtmp", Peer: peer}, "connect refused", &Refusal{Reason: ReasonAuth, Text: text})
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

// TestStormHidesNoOther: more hosts than a limiter remembers, all refused for one reason over one protocol, silence
// neither another reason nor another protocol; and kinds without end share a limiter.
func TestStormHidesNoOther(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		refuse := func(protocol, peer string, reason Reason, text string) {
			_ = g.refused(w.cfg.Log.With("peer", peer), &Connect{Protocol: protocol, Peer: peer}, "connect refused", &Refusal{Reason: reason, Text: text})
		}
		for i := range 3000 {
			refuse("rtmp", fmt.Sprintf("10.0.%d.%d:5000", i/250, i%250), ReasonAuth, "the token is wrong")
		}
		refuse("srt", "192.0.2.1:5000", ReasonAuth, "the only SRT caller")
		refuse("rtmp", "192.0.2.1:5000", ReasonParams, "the only address without e=")
		refuse("rtmp", "192.0.2.1:5000", ReasonAuth, "one of the storm")
		for text, want := range map[string]int{"the only SRT caller": 1, "the only address": 1, "one of the storm": 0} {
			if n := strings.Count(w.log.String(), text); n != want {
				t.Errorf("%q is in the log %d times, want %d", text, n, want)
			}
		}
	})
	var r Refusals
	for i := range 3 * maxKinds {
		r.Loudness(fmt.Sprint(i), "192.0.2.1:5000", "x")
	}
	if n := len(r.kinds); n > maxKinds+1 {
		t.Errorf("%d limiters", n)
	}
}
