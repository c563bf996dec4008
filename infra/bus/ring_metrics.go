package bus

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// ringMetrics is what a ring tells about itself.
type ringMetrics struct {
	published                              prometheus.Counter
	droppedAge, droppedBytes, droppedTotal prometheus.Counter
	bytes, messages, subjects              prometheus.Gauge
}

func newRingMetrics(reg prometheus.Registerer) *ringMetrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Subsystem: "bus_ring", Name: name, Help: help})
	}
	dropped := f.NewCounterVec(prometheus.CounterOpts{
		Namespace: "klive", Subsystem: "bus_ring", Name: "dropped_total",
		Help: "Messages that left the ring unreleased: by age, by their subject's bytes, by the ring's total bytes.",
	}, []string{"reason"})
	return &ringMetrics{
		published: f.NewCounter(prometheus.CounterOpts{
			Namespace: "klive", Subsystem: "bus_ring", Name: "published_total", Help: "Messages stored in the ring.",
		}),
		droppedAge:   dropped.WithLabelValues("age"),
		droppedBytes: dropped.WithLabelValues("bytes"),
		droppedTotal: dropped.WithLabelValues("total"),
		bytes:        gauge("bytes", "Bytes of the bodies kept."),
		messages:     gauge("messages", "Messages kept."),
		subjects:     gauge("subjects", "Subjects remembered."),
	}
}
