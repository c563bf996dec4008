package gateway

import (
	"strings"
	"testing"
	"time"

	"klive/infra/live"
)

// An encoder whose keyframes are 20 s apart is told of once a minute; a good one is not.
func TestForcedCutsAreTold(t *testing.T) {
	const line = "the encoder sends keyframes too seldom"
	inWorld(t, func(w *world) {
		g := w.gateway()
		good := w.publish(g, live.Primary, "_1")
		w.play(good, source{fps: 25, gop: 50, audio: 48000, length: 30 * time.Second})
		good.Close(nil)
		if n := strings.Count(w.log.String(), line); n != 0 {
			t.Errorf("%d lines about an encoder with a keyframe each 2 s", n)
		}
		bad := w.publish(g, live.Backup, "_1")
		w.play(bad, source{fps: 25, gop: 500, audio: 48000, length: 90 * time.Second})
		bad.Close(nil)
		if n := strings.Count(w.log.String(), line); n != 2 {
			t.Errorf("%d lines in 90 s, want 2:\n%s", n, w.log)
		}
	})
}
