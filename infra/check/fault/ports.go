package fault

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports come from below those that systems give to outgoing connections (Linux begins at
// 32768): one of these would otherwise take an address between its choice and its use.
const (
	firstPort = 15000
	lastPort  = 31999
)

// Ports finds free loopback addresses, host:port. Another process may take one before it is
// used; whoever was to listen there then says so.
func Ports(t testing.TB, n int) []string {
	t.Helper()
	return PortsOn(t, "127.0.0.1", n)
}

// given are the ports that PortsOn gave away: who got one may not listen there yet.
var given sync.Map

// PortsOn finds free addresses of a host, TCP and UDP. No two calls in a process give the same port.
func PortsOn(t testing.TB, host string, n int) []string {
	t.Helper()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		if tries > 1000+100*n {
			t.Fatalf("no free port on %s", host)
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if address := net.JoinHostPort(host, strconv.Itoa(port)); free(address) {
			out = append(out, address)
		}
	}
	return out
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
