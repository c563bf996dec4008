package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the gateway's own; protocols have theirs.
type metrics struct {
	sessions      *prometheus.GaugeVec
	refusals      *prometheus.CounterVec
	droppedFrames *prometheus.CounterVec
	lostParts     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "klive_gateway_feeds", Help: "Feeds on the air here.",
		}, []string{"protocol"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_gateway_refusals_total", Help: "Connects and publishes that were refused.",
		}, []string{"reason"}),
		droppedFrames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_gateway_dropped_frames_total", Help: "Frames that went into no part.",
		}, []string{"cause"}),
		lostParts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "klive_gateway_lost_parts_total", Help: "Parts that were given up because the bus did not take them.",
		}),
	}
	m.sessions.WithLabelValues("rtmp") // so that a gateway without feeds shows a zero, which is what it is scaled by
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sessions, m.refusals, m.droppedFrames, m.lostParts} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("gateway: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) refused(r Reason) { m.refusals.WithLabelValues(string(r)).Inc() }

func (m *metrics) dropped(c dropCause, n uint64) {
	m.droppedFrames.WithLabelValues(c.String()).Add(float64(n))
}

func (m *metrics) lost(parts int) { m.lostParts.Add(float64(parts)) }

// forwardMetrics are those of requests on their way to other gateways.
type forwardMetrics struct {
	underway prometheus.Gauge
	requests *prometheus.CounterVec
}

func newForwardMetrics(r prometheus.Registerer) *forwardMetrics {
	m := &forwardMetrics{
		underway: prometheus.NewGauge(prometheus.GaugeOpts{Name: "klive_gateway_forwards", Help: "HTTP requests under way to the gateways that hold their feeds."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_gateway_forwards_total",
			Help: "HTTP requests for other gateways: sent to them, of those unanswered, and refused because as many were under way as may be.",
		}, []string{"outcome"}),
	}
	if r != nil {
		r.MustRegister(m.underway, m.requests)
	}
	return m
}
