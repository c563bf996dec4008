package fault

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// TestDatagramRelay sends numbered datagrams through each weather.
func TestDatagramRelay(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		w       Weather
		lost    [2]int // of 1000, at least and at most
		ordered bool
		takes   time.Duration
	}{
		{"fair", Weather{}, [2]int{0, 0}, true, 0},
		{"lossy", Weather{Loss: 0.2}, [2]int{130, 270}, true, 0},
		{"slow", Weather{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond}, [2]int{0, 0}, true, 80 * time.Millisecond},
		{"overtaking", Weather{Overtake: 0.2, Late: 20 * time.Millisecond}, [2]int{0, 0}, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewDatagramRelay(t, server.LocalAddr().String(), c.w, Weather{})
			client, err := net.Dial("udp", r.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			begin := time.Now()
			// What the system itself would lose when its buffers are full is not sent.
			room, done := make(chan struct{}, 100), make(chan struct{})
			defer close(done)
			go func() {
				for i := range 1000 {
					select {
					case room <- struct{}{}:
						client.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
					case <-done:
						return
					}
				}
			}()
			seen, over, ordered, last, first := 0, 0, true, -1, time.Duration(0)
			buf := make([]byte, 16)
			for {
				server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, _, err := server.ReadFromUDP(buf)
				passed, lost := r.Count()
				for gone := seen + lost; over < gone; over++ {
					<-room
				}
				if err != nil {
					if passed+lost == 1000 && passed == seen || time.Since(begin) > 30*time.Second {
						break
					}
					continue
				}
				if seen == 0 {
					first = time.Since(begin)
				}
				n := int(binary.BigEndian.Uint32(buf))
				ordered = ordered && n > last
				last = n
				seen++
			}
			if lost := 1000 - seen; lost < c.lost[0] || lost > c.lost[1] || ordered != c.ordered || first < c.takes {
				t.Errorf("%d of 1000 were lost, in order is %v, the first took %v", lost, ordered, first)
			}
			if passed, lost := r.Count(); passed+lost != 1000 || passed != seen {
				t.Errorf("the relay counts %d and %d, %d arrived", passed, lost, seen)
			}
		})
	}
}

// More clients than a relay remembers: each that speaks is heard, however many were there.
func TestDatagramRelayOfManyClients(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r := NewDatagramRelay(t, server.LocalAddr().String(), Weather{}, Weather{})
	buf := make([]byte, 16)
	for i := range maxClients + 8 {
		c, err := net.Dial("udp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, _, err := server.ReadFrom(buf); err != nil || n != 1 || buf[0] != byte(i) {
			t.Fatalf("client %d: %v %v", i, buf[:n], err)
		}
	}
}
