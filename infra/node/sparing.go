package node

import (
	"log/slog"
	"net"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/telemetry"
)

// sparing is a listener that leaves the process its last file descriptors: files of media and of the
// bus, and connections to others, would fail for want of them, and all streams with them, while any
// number of connections that say nothing can take them. Those it closes at once. It may be used by
// several goroutines.
type sparing struct {
	net.Listener
	most   func() (descriptors int, ok bool) // that the process may have
	closed prometheus.Counter
	log    *slog.Logger
	told   telemetry.Throttle
}

// spared is how many of so many descriptors are left to others than connections from outside.
func spared(most int) int { return min(max(8, most/20), 1024) }

// Accept waits for a connection that there is a descriptor for.
func (l *sparing) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.room(c) {
			return c, err
		}
		c.Close()
		l.closed.Inc()
		l.tell()
	}
}

// room reports whether a connection's descriptor is not of the last ones: the system gives the lowest
// that is free (accept(2)), so the number says how many are open.
func (l *sparing) room(c net.Conn) bool {
	most, ok := l.most()
	if !ok {
		return true
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	number := 0
	if err := raw.Control(func(fd uintptr) { number = int(fd) }); err != nil {
		return true
	}
	return number < most-spared(most)
}

func (l *sparing) tell() {
	if held, ok := l.told.Pass(""); ok {
		most, _ := l.most()
		l.log.Warn("connections are closed as they come, because the process has hardly any file descriptors left: let it have more (ulimit -n, LimitNOFILE)", "address", l.Addr(), "descriptors", most, "before", held)
	}
}

// spareDescriptors makes the listeners that strangers reach leave the last descriptors alone.
func (n *Node) spareDescriptors() {
	closed := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "klive_node_connections_closed_total", Help: "Connections that were closed as they came, because hardly any file descriptors were left.",
	})
	n.cfg.Registry.MustRegister(closed)
	for _, l := range []*net.Listener{&n.listeners.rtmp, &n.listeners.rtmps, &n.listeners.http, &n.listeners.https} {
		if *l != nil {
			*l = &sparing{Listener: *l, most: telemetry.DescriptorLimit, closed: closed, log: n.log}
		}
	}
}
