package whip

import (
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// TestNoise floods the media port with connectivity checks for sessions that are none, with
// handshakes and with noise: the stream that is on the air goes on whole, and nothing of it is kept.
func TestNoise(t *testing.T) {
	r := newRig(t, nil)
	w := r.mustDial(nil)
	r.play(w)
	r.wait("media", func() bool { return r.stats().Frames > 20 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	routines := runtime.NumGoroutine()
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		conn, err := net.Dial("udp", r.whip.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		for n := range 100 {
			b := make([]byte, 20+random.IntN(1200))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			switch n % 4 {
			case 0:
				m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("nobody:"+string(rune('a'+n%26))), stun.NewShortTermIntegrity("wrong"), stun.Fingerprint)
				if err != nil {
					t.Fatal(err)
				}
				b = m.Raw
			case 1:
				b[0] = 22 // a DTLS handshake
			case 2:
				b[0] = 0x80 // RTP
			}
			_, _ = conn.Write(b)
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
	at := r.stats().Frames
	r.wait("media after the flood", func() bool { return r.stats().Frames > at+60 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap has grown by %d KB", grown>>10)
	}
	r.wait("the end of what the flood began", func() bool { return runtime.NumGoroutine() <= routines+8 })
	if s := r.stats().Link; s.Damaged > 1 {
		t.Errorf("the flood cost pictures: %+v", s)
	}
}
