package check

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given are the addresses that FreeAddresses gave away, so that tests at the same time differ.
var given sync.Map

// FreeAddresses are n loopback addresses on which neither TCP nor UDP listens. Their ports lie
// below those that systems give to outgoing connections, so that a server under test that goes
// away for a while finds its own again.
func FreeAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for tries := 0; len(addresses) < n; tries++ {
		if tries == 1000 {
			t.Fatal("no free port between 20000 and 32000")
		}
		address := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
		if _, taken := given.LoadOrStore(address, true); !taken && free(address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return p.Close() == nil
}
