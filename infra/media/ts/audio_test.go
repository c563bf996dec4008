package ts

import (
	"testing"

	"klive/infra/media"
)

// silent takes everything.
type silent struct{ units int }

func (*silent) Program([]Stream) error          { return nil }
func (*silent) Track(media.Track, Stream) error { return nil }
func (*silent) Data(Data) error                 { return nil }
func (s *silent) Unit(Unit) error               { s.units++; return nil }

// adtsFrame is a frame of AAC-LC at 48 kHz; channels 0 is a configuration that can't be used.
func adtsFrame(channels byte) []byte {
	const size = 100
	b := make([]byte, size)
	copy(b, []byte{0xff, 0xf1, 0x4c | channels>>2, channels&3<<6 | size>>11, size >> 3 & 0xff, size&7<<5 | 0x1f, 0xfc})
	return b
}

// What chance makes of the bytes behind a loss, such as the header of a stream that can't be
// used, ends nothing; at the beginning of a stream it is the stream's own.
func TestChanceBehindALoss(t *testing.T) {
	sink := &silent{}
	r := NewReader(sink)
	a := &audio{framer: &adts{}}
	e := &elementary{content: a}
	good := append(adtsFrame(2), adtsFrame(2)...)
	if err := a.read(r, e, payload{data: good, timed: true, pts: 90000}); err != nil || sink.units != 2 {
		t.Fatalf("%d units, %v", sink.units, err)
	}
	a.drop()
	broken := append(adtsFrame(0)[:50], good...)
	if err := a.read(r, e, payload{data: broken, timed: true, pts: 180000}); err != nil || sink.units != 4 {
		t.Errorf("behind a loss: %d units, %v", sink.units, err)
	}
	first := &audio{framer: &adts{}}
	if err := first.read(r, e, payload{data: append(adtsFrame(0), adtsFrame(0)...), timed: true, pts: 90000}); err == nil {
		t.Error("a stream that can't be used is taken")
	}
}
