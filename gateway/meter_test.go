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
		s := m.beat(begin.Add(time.Duration(second+1)*time.Second), 0, begin)
		if rate = s.FrameRate; second > 0 && math.Abs(rate-29.97) > 0.05 {
			t.Errorf("after %d s: %.3f frames a second, want 29.970", second+1, rate)
		}
	}
	if s := m.beat(begin.Add(9*time.Second), 0, begin); s.Bitrate < 200_000 || s.Bitrate > 270_000 {
		t.Errorf("%d bit/s, want about 237000", s.Bitrate)
	}
	// A step of the source's clock is no time that went by.
	m.add(media.Video, &AccessUnit{Time: 3_600_000})
	if s := m.beat(begin.Add(10*time.Second), 0, begin); math.Abs(s.FrameRate-29.97) > 0.5 {
		t.Errorf("after a jump: %.3f frames a second", s.FrameRate)
	}
}

// TestMeterOfPieces: the rates of a feed that comes in long pieces are those of its media, between them
// too, and none when the next one does not come.
func TestMeterOfPieces(t *testing.T) {
	for _, length := range []int{2, 4, 6, 8, 12} { // seconds
		m := meter{clock: SourceClock{Rate: 1000, Bits: 32}}
		begin, sent := time.Unix(1_800_000_000, 0), 0
		const end = 48
		for second := range end + 20 {
			if second%length == 0 && second < end {
				for ; sent < (second+length)*25; sent++ {
					m.add(media.Video, &AccessUnit{Time: uint64(sent) * 40, Payload: make([]byte, 1000)})
				}
			}
			ahead := time.Duration(sent) * time.Second / 25
			s := m.beat(begin.Add(time.Duration(second)*time.Second+100*time.Millisecond), ahead, begin.Add(ahead))
			switch {
			case second >= 2*length && second < end:
				if s.Bitrate < 140_000 || s.Bitrate > 220_000 || math.Abs(s.FrameRate-25) > 0.5 {
					t.Errorf("pieces of %d s: %d bit/s and %.2f frames a second at %d s, want about 200000 and 25", length, s.Bitrate, s.FrameRate, second)
				}
			case second >= end+meterWindow && s.Bitrate != 0:
				t.Errorf("pieces of %d s: %d bit/s at %d s, after the last one", length, s.Bitrate, second)
			}
		}
	}
}
