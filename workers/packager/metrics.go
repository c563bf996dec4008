package packager

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage/timeline"
)

// used counts media that rest in the store as their partner's.
func (p *Packager) used(m *timeline.Media) {
	if p.Used == nil {
		return
	}
	rung := time.Duration(0)
	if m.Encode != nil {
		rung = m.Duration
	}
	p.Used(int(p.partner.Load()), rung, m.Size)
}

// Metrics count for all packagers of a process.
type Metrics struct {
	segments prometheus.Counter
	bytes    prometheus.Counter
	lost     *prometheus.CounterVec
	gaps     *prometheus.CounterVec
	retries  *prometheus.CounterVec
	switches prometheus.Counter
	held     prometheus.Gauge
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
		held: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Subsystem: "packager", Name: "held_media",
			Help: "Media of timelines owned here that are in playlists and not in the store yet."}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "packager", Name: "store_delay_seconds",
			Help:    "Time from a segment's last part until its media rest in the store.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
	}
	if reg != nil {
		reg.MustRegister(m.segments, m.bytes, m.lost, m.gaps, m.retries, m.switches, m.held, m.delay)
	}
	return m
}
