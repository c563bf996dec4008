package whip

import (
	"errors"
	"testing"

	rtp "github.com/pion/rtp/codecs"
)

// TestEndlessFragment refuses a unit of AV1 whose fragments never end, and reads the next one.
func TestEndlessFragment(t *testing.T) {
	o := &obus{}
	p := make([]byte, 1200)
	p[0] = 0x58 // the first fragment of one element, of a new sequence
	p[1] = 0x30 // OBU_FRAME
	for n := 0; n <= maxUnit/len(p); n++ {
		err := o.add(p)
		if over := (n+1)*len(p) > maxUnit; over != errors.Is(err, errPacket) {
			t.Fatalf("after %d packets: %v", n+1, err)
		}
		p[0] = 0xd0 // the next one of the same
	}
	o.reset()
	sequence := append([]byte{0x18}, (&rtp.AV1Payloader{}).Payload(1200, []byte{0x0a, 0x03, 0, 0, 0})[0][1:]...)
	if err := o.add(sequence); err != nil || !o.entry() || o.taken != len(sequence) {
		t.Errorf("the next unit: %v, %d bytes", err, o.taken)
	}
}
