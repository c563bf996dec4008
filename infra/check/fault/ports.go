package fault

import (
	"math/rand/v2"
	"net"
	"strconv"
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

// PortsOn finds free addresses of a host.
func PortsOn(t testing.TB, host string, n int) []string {
	t.Helper()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			if tries > 100*n {
				t.Fatalf("no free port on %s: %v", host, err)
			}
			continue
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}
