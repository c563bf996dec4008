package packager

import "github.com/prometheus/client_golang/prometheus"

// Metrics count for all packagers of a process.
type Metrics struct {
	segments prometheus.Counter
	bytes    prometheus.Counter
	lost     *prometheus.CounterVec
	gaps     *prometheus.CounterVec
	retries  *prometheus.CounterVec
	switches prometheus.Counter
	delay    prometheus.Histogram
}

// NewMetrics registers the counters; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "klive", Subsystem: "packager", Name: name, Help: help}
	}
	m := &Metrics{
		segments: prometheus.NewCounter(counter("segments_total", "Media segments stored.")),
		bytes:    prometheus.NewCounter(counter("bytes_total", "Bytes of media segments stored.")),
		lost:     prometheus.NewCounterVec(counter("lost_total", "Parts or segments that were not used, by reason."), []string{"reason"}),
		gaps:     prometheus.NewCounterVec(counter("gaps_total", "Segments that playlists show as gaps, by reason."), []string{"reason"}),
		retries:  prometheus.NewCounterVec(counter("retries_total", "Writes that were repeated, by what was written."), []string{"what"}),
		switches: prometheus.NewCounter(counter("feed_switches_total", "Changes between primary and backup.")),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "packager", Name: "store_delay_seconds",
			Help:    "Time from a segment's last part to its place in stored playlists.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
	}
	if reg != nil {
		reg.MustRegister(m.segments, m.bytes, m.lost, m.gaps, m.retries, m.switches, m.delay)
	}
	return m
}
