package fault

import (
	"net"
	"testing"
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
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out
}
