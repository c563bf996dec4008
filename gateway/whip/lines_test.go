package whip

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// ntp is a time as sender reports have it.
func ntp(t time.Duration) uint64 {
	return uint64(t/time.Second+3_900_000_000)<<32 | uint64(t%time.Second)<<32/uint64(time.Second)
}

// TestSync begins with pictures 120 ms late against the sound. Sender reports say what belongs
// together: within a few seconds the offset is that of the source, no step of the pictures' time
// is visible, and sound does not move at all.
func TestSync(t *testing.T) {
	begin := time.Unix(5000, 0)
	set := newLines(begin)
	sound, pictures := set.add(48000, true), set.add(90000, false)
	const late = 120 * time.Millisecond // on the way, the pictures alone
	rtpS := func(at time.Duration) uint32 { return uint32(0xfffff000) + uint32(at*6/125_000) }
	rtpV := func(at time.Duration) uint32 { return uint32(0xffff0000) + uint32(at*9/100_000) }
	var firstS, lastV, off int64
	for n := 0; n < 300; n++ {
		at := time.Duration(n) * 20 * time.Millisecond
		s := int64(sound.at(rtpS(at), begin.Add(at))) - int64(at)*ticks/int64(time.Second)
		if n == 0 {
			firstS = s
		} else if s != firstS {
			t.Fatalf("at %v the sound has moved by %d ticks", at, s-firstS)
		}
		v := int64(pictures.at(rtpV(at), begin.Add(at+late)))
		if step := v - lastV; n > 0 && (step < ticks/50*95/100 || step > ticks/50*105/100) {
			t.Fatalf("at %v the pictures' time makes a step of %d ticks in 20 ms", at, step)
		}
		lastV = v
		off = v - int64(at)*ticks/int64(time.Second) - firstS
		if n == 25 {
			if d := time.Duration(off) * time.Second / ticks; d != late {
				t.Errorf("before the reports the offset is %v", d)
			}
			sound.heard(&rtcp.SenderReport{NTPTime: ntp(at), RTPTime: rtpS(at)}, begin.Add(at))
			pictures.heard(&rtcp.SenderReport{NTPTime: ntp(at + time.Second), RTPTime: rtpV(at + time.Second)}, begin.Add(at))
		}
	}
	if d := time.Duration(off) * time.Second / ticks; d.Abs() > 2*time.Millisecond {
		t.Errorf("at the end the offset is %v", d)
	}
}

// TestOddReports leaves the tracks where they are when their reports make no sense together.
func TestOddReports(t *testing.T) {
	begin := time.Unix(5000, 0)
	set := newLines(begin)
	sound, pictures := set.add(48000, true), set.add(90000, false)
	sound.heard(&rtcp.SenderReport{NTPTime: ntp(0)}, begin) // before anything came
	sound.at(0, begin)
	before := pictures.at(0, begin)
	pictures.heard(&rtcp.SenderReport{NTPTime: ntp(time.Hour), RTPTime: 0}, begin)
	pictures.heard(&rtcp.SenderReport{}, begin) // says nothing
	if after := pictures.at(90000, begin.Add(time.Second)); after != before+ticks {
		t.Errorf("the pictures have moved by %d ticks", int64(after-before)-ticks)
	}
}

// TestClockSetAnew goes on where a track arrives when its own clock jumps; a pause is no jump.
func TestClockSetAnew(t *testing.T) {
	begin := time.Unix(5000, 0)
	l := newLines(begin).add(90000, false)
	at := uint32(0xffffff00)
	first := l.at(at, begin)
	at += 60 * 90000
	if after := l.at(at, begin.Add(time.Minute)); after != first+60*ticks {
		t.Errorf("a pause: %d ticks for a minute", after-first)
	}
	if after := l.at(123, begin.Add(time.Minute+time.Second)); after != first+61*ticks {
		t.Errorf("a jump: %d ticks for 61 s", after-first)
	}
}

// TestPicturesCloseTogether sends pictures 1 ms apart in two layers, whose times differ a little: each layer's are in
// order, no two of them alike, and those of one picture are.
func TestPicturesCloseTogether(t *testing.T) {
	begin := time.Unix(5000, 0)
	set := newLines(begin)
	large, small := set.add(90000, false), set.add(90000, false)
	const off = 30 // ticks of 90 kHz that the smaller one's are behind: a third of a millisecond
	var last, lastSmall uint64
	for n := range 40 {
		at := time.Duration(n/4)*40*time.Millisecond + time.Duration(n%4)*time.Millisecond // in fours
		rtp, came := uint32(at*9/100_000), begin.Add(at)
		one := large.at(rtp, came)
		if again := large.at(rtp, came); again != one {
			t.Fatalf("picture %d is at %d, and at %d when asked again", n, one, again)
		}
		two := small.at(rtp+off, came)
		if n > 0 && (one <= last || two <= lastSmall) {
			t.Fatalf("picture %d is %d and %d ticks after the one before", n, int64(one-last), int64(two-lastSmall))
		}
		if one != two {
			t.Fatalf("picture %d has times that are %d ticks apart", n, int64(two-one))
		}
		last, lastSmall = one, two
	}
	// A layer whose picture was put on one that lies later goes on behind that.
	rtp := uint32(100 * 90000)
	later := large.at(rtp+100, begin.Add(100*time.Second))
	if first := small.at(rtp, begin.Add(100*time.Second)); first != later {
		t.Errorf("the picture is %d ticks from the other layer's", int64(first-later))
	}
	if next := small.at(rtp+60, begin.Add(100*time.Second)); next <= later {
		t.Errorf("the next one is %d ticks before it", int64(later-next))
	}
}
