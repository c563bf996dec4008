package bus_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
)

// lockedBuffer takes a log that several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestControlStats(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		net := newNetwork(n)
		c := net.connect(t)
		reg := prometheus.NewPedanticRegistry()
		check(t, c.Register(reg))
		if s := c.Stats(); !s.Connected || s.Server != "klive" || s.RTT <= 0 || s.Replicas != 1 {
			t.Errorf("state of a connection: %+v", s)
		}
		if metric(t, reg, "klive_bus_connected") != 1 || metric(t, reg, "klive_bus_bytes_total") == 0 {
			t.Error("the metrics do not show a connection")
		}
		c.Close()
		if s := c.Stats(); s.Connected || s.RTT != 0 {
			t.Errorf("state of a closed connection: %+v", s)
		}
		if metric(t, reg, "klive_bus_connected") != 0 {
			t.Error("the metrics show a closed connection as open")
		}
	})
}
