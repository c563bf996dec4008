package gateway

import (
	"math"
	"testing"
	"time"

	"klive/infra/media"
)

// Frames that arrive in bursts, across the wrap of the source's clock, are counted at the
// rate they were taken.
func TestMeterFrameRate(t *testing.T) {
	m := meter{clock: SourceClock{Rate: 1000, Bits: 32}}
	begin, sent := time.Unix(1_800_000_000, 0), 0
	wrap := int64(math.MaxUint32 - 2000)
	var rate float64
	for second := range 8 {
		// Each second brings the frames up to then, now one more, now one less.
		for ; sent < (second+1)*30+second%3-1; sent++ {
			ms := wrap + media.ToTicks(media.FromTicks(int64(sent)*1001, 30000), 1000)
			m.add(media.Video, &AccessUnit{Time: uint64(uint32(ms)), Payload: make([]byte, 1000)})
			m.add(media.Audio, &AccessUnit{Track: media.FirstAudioTrack, Time: uint64(uint32(ms)), Payload: make([]byte, 100)})
		}
		s := m.beat(begin.Add(time.Duration(second+1) * time.Second))
		if rate = s.FrameRate; second > 0 && math.Abs(rate-29.97) > 0.05 {
			t.Errorf("after %d s: %.3f frames a second, want 29.970", second+1, rate)
		}
	}
	if s := m.beat(begin.Add(9 * time.Second)); s.Bitrate < 200_000 || s.Bitrate > 270_000 {
		t.Errorf("%d bit/s, want about 237000", s.Bitrate)
	}
	// A step of the source's clock is no time that went by.
	m.add(media.Video, &AccessUnit{Time: 3_600_000})
	if s := m.beat(begin.Add(10 * time.Second)); math.Abs(s.FrameRate-29.97) > 0.5 {
		t.Errorf("after a jump: %.3f frames a second", s.FrameRate)
	}
}
