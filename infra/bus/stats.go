package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// ControlStats is the state of a connection to the bus.
type ControlStats struct {
	Connected bool `json:"connected"`
	// Server, Address and Cluster are what it is connected to, empty while it is not.
	Server  string `json:"server,omitempty"`
	Address string `json:"address,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	// RTT is how long the server takes to answer a ping, 0 if it does not.
	RTT time.Duration `json:"rtt"`
	// Reconnects counts how often the connection was lost and made again.
	Reconnects              uint64 `json:"reconnects"`
	MessagesIn, MessagesOut uint64 `json:"-"`
	BytesIn, BytesOut       uint64 `json:"-"`
	Replicas                int    `json:"replicas"` // of buckets and logs
}

// Stats tells the connection's state. It asks the server, for at most two seconds.
func (c *Control) Stats() ControlStats {
	n := c.nc.Stats()
	s := ControlStats{
		Connected: c.nc.Status() == nats.CONNECTED, Reconnects: n.Reconnects, Replicas: c.replicas,
		MessagesIn: n.InMsgs, MessagesOut: n.OutMsgs, BytesIn: n.InBytes, BytesOut: n.OutBytes,
	}
	if !s.Connected {
		return s
	}
	s.Server, s.Address, s.Cluster = c.nc.ConnectedServerName(), c.nc.ConnectedUrlRedacted(), c.nc.ConnectedClusterName()
	ctx, cancel := context.WithTimeout(c.ctx, statsTimeout)
	defer cancel()
	start := time.Now()
	if c.nc.FlushWithContext(ctx) == nil {
		s.RTT = max(1, time.Since(start)) // a bubble's clock stands still meanwhile
	}
	return s
}

// Register exports the connection's state as metrics, read when they are asked for.
func (c *Control) Register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	return reg.Register(controlCollector{control: c, descs: newControlDescs()})
}

type controlDescs struct {
	connected, rtt, reconnects, messages, bytes *prometheus.Desc
}

func newControlDescs() *controlDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("klive", "bus", name), help, labels, nil)
	}
	return &controlDescs{
		connected:  desc("connected", "1 while the connection to the bus stands."),
		rtt:        desc("rtt_seconds", "How long the bus takes to answer a ping; absent while it does not."),
		reconnects: desc("reconnects_total", "Times the connection to the bus was lost and made again."),
		messages:   desc("messages_total", "Messages to and from the bus.", "direction"),
		bytes:      desc("bytes_total", "Bytes of payloads to and from the bus.", "direction"),
	}
}

// controlCollector asks the server when metrics are read.
type controlCollector struct {
	control *Control
	descs   *controlDescs
}

// Describe implements prometheus.Collector.
func (c controlCollector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs
	for _, desc := range []*prometheus.Desc{d.connected, d.rtt, d.reconnects, d.messages, d.bytes} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c controlCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.control.Stats()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	send(c.descs.connected, prometheus.GaugeValue, connected)
	if s.RTT > 0 {
		send(c.descs.rtt, prometheus.GaugeValue, s.RTT.Seconds())
	}
	send(c.descs.reconnects, prometheus.CounterValue, float64(s.Reconnects))
	send(c.descs.messages, prometheus.CounterValue, float64(s.MessagesIn), "in")
	send(c.descs.messages, prometheus.CounterValue, float64(s.MessagesOut), "out")
	send(c.descs.bytes, prometheus.CounterValue, float64(s.BytesIn), "in")
	send(c.descs.bytes, prometheus.CounterValue, float64(s.BytesOut), "out")
}
