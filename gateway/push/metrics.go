package push

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics is what the handler tells about itself.
type metrics struct {
	requests *prometheus.CounterVec
	underway prometheus.Gauge
	bytes    prometheus.Counter
	dropped  *prometheus.CounterVec
	damaged  prometheus.Counter
	panics   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "klive", Subsystem: "push", Name: name, Help: help}
	}
	return &metrics{
		requests: f.NewCounterVec(counter("requests_total", "Requests, by the status of their answer."), []string{"status"}),
		underway: f.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Subsystem: "push", Name: "requests", Help: "Requests under way."}),
		bytes:    f.NewCounter(counter("received_bytes_total", "Bytes of bodies.")),
		dropped:  f.NewCounterVec(counter("dropped_total", "Segments and frames that were left out: repeated or late ones."), []string{"kind"}),
		damaged:  f.NewCounter(counter("damaged_units_total", "Access units left out because bytes of them are missing.")),
		panics:   f.NewCounter(counter("panics_total", "Requests ended by a fault in this program.")),
	}
}
