package gateway

import (
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

func sound(gen uint32, at time.Duration, size int) item {
	pts := testEpoch.Add(at)
	return item{gen: gen, frame: media.Frame{
		Track: media.FirstAudioTrack, DTS: pts, PTS: pts, Duration: 20 * time.Millisecond, Payload: make([]byte, size),
	}}
}

func TestEarlySoundBounds(t *testing.T) {
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	t.Run("time", func(t *testing.T) {
		var e earlySound
		dropped := uint64(0)
		for ms := 0; ms < 1000; ms += 20 {
			dropped += e.hold(sound(1, at(ms), 300))
		}
		if len(e.items) != 13 || dropped != 37 {
			t.Fatalf("%d frames wait and %d are given up, want 13 and 37", len(e.items), dropped)
		}
		picture := sound(1, at(1090), 0)
		joins, dropped := e.take(&picture)
		if len(joins) != 8 || dropped != 5 || joins[0].frame.PTS != testEpoch.Add(at(840)) {
			t.Errorf("%d frames join from %v on and %d don't", len(joins), joins[0].frame.PTS.Sub(testEpoch), dropped)
		}
		if len(e.items) != 0 || e.bytes != 0 {
			t.Errorf("%d frames of %d bytes are left", len(e.items), e.bytes)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		var e earlySound
		dropped := uint64(0)
		for ms := range 100 {
			dropped += e.hold(sound(1, at(ms), maxLeadBytes/4))
			if e.bytes > maxLeadBytes {
				t.Fatalf("%d bytes wait", e.bytes)
			}
		}
		if len(e.items) != 3 || dropped != 97 {
			t.Errorf("%d frames wait and %d are given up, want 3 and 97", len(e.items), dropped)
		}
	})
	t.Run("another run of the clock", func(t *testing.T) {
		var e earlySound
		e.hold(sound(1, at(0), 300))
		e.hold(sound(1, at(20), 300))
		if dropped := e.hold(sound(2, at(40), 300)); dropped != 2 || e.bytes != 300+frameCost {
			t.Errorf("%d frames are given up, %d bytes wait", dropped, e.bytes)
		}
	})
}

func TestLead(t *testing.T) {
	it := sound(1, 0, 300)
	if got := it.lead(testEpoch.Add(100 * time.Millisecond)); got != 120*time.Millisecond {
		t.Errorf("a frame 100 ms before the start makes the sound %v longer", got)
	}
	if got := it.lead(testEpoch); got != 0 {
		t.Errorf("a frame at the start makes the sound %v longer", got)
	}
}

// Sound before a publish's first picture is what encoders with B-frames begin with at each
// connect: it is counted, and not told.
func TestEarlySoundIsNotTold(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.publish(w.gateway(), live.Primary, "_1")
		w.play(s, source{fps: 25, gop: 50, audio: 48000, length: 10 * time.Second}, silence(0, 100*time.Millisecond, media.VideoTrack))
		s.Close(nil)
		if s.cut.seg.dropped[dropEarlySound] == 0 || s.cut.seg.dropped[dropNoKeyframe] == 0 {
			t.Errorf("left out: %v", s.cut.seg.dropped)
		}
		if told := w.log.String(); strings.Contains(told, "early-sound") || !strings.Contains(told, "cause=no-keyframe") {
			t.Errorf("the log has\n%s", told)
		}
	})
}
