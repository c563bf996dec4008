package srt

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"klive/infra/live"
)

// metrics is what the server tells about itself.
type metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	refused     *prometheus.CounterVec
	panics      prometheus.Counter
	packets     *prometheus.CounterVec
	damaged     prometheus.Counter
	rtt         prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "klive", Subsystem: "srt", Name: name, Help: help}
	}
	return &metrics{
		connections: f.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Subsystem: "srt", Name: "connections", Help: "Callers that are connected or wait for an answer."}),
		accepted:    f.NewCounter(counter("accepted_total", "Callers that were let in.")),
		refused:     f.NewCounterVec(counter("refused_total", "Callers refused or ended by this side, by reason."), []string{"reason"}),
		panics:      f.NewCounter(counter("panics_total", "Malformed requests and faults that were caught.")),
		packets:     f.NewCounterVec(counter("packets_total", "Data packets by what became of them: received (repeats included), lost on the way, retransmitted, belated, dropped, undecrypted."), []string{"kind"}),
		damaged:     f.NewCounter(counter("damaged_units_total", "Access units left out because bytes of them are missing.")),
		rtt: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "klive", Subsystem: "srt", Name: "rtt_seconds", Help: "Smoothed round-trip times, one sample a second for each caller.",
			Buckets: []float64{.001, .005, .01, .02, .05, .1, .2, .5, 1},
		}),
	}
}

// link counts what has been added between two looks at a connection.
func (m *metrics) link(was, is live.LinkStats) {
	for kind, n := range map[string]uint64{
		"received": is.Received - was.Received, "lost": is.Lost - was.Lost, "retransmitted": is.Retransmitted - was.Retransmitted,
		"belated": is.Belated - was.Belated, "dropped": is.Dropped - was.Dropped, "undecrypted": is.Undecrypted - was.Undecrypted,
	} {
		m.packets.WithLabelValues(kind).Add(float64(n))
	}
	m.damaged.Add(float64(is.Damaged - was.Damaged))
	m.rtt.Observe(is.RTT / 1000)
}

// The reasons for ending a caller beside gateway.Reason.
const (
	reasonConnections = "connections" // the connection limit
	reasonTimeout     = "timeout"     // nothing came in time
	reasonAccept      = "accept"      // the connection could not be set up
	reasonStreamID    = "stream-id"   // it is longer than SRT allows
	reasonHandshake   = "handshake"   // the library dropped or refused it
)
