package recorder

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all recorders of a process.
type Metrics struct {
	settled *prometheus.CounterVec
	bytes   prometheus.Counter
	lost    prometheus.Counter
	remade  prometheus.Counter
	retries prometheus.Counter
	running prometheus.Gauge
}

// NewMetrics registers the metrics; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "klive_recording_files_total",
			Help: "Recorded files by what became of them: confirmed, parked (an operator is needed) or skipped."}, []string{"state"}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_recording_bytes_total", Help: "Bytes written into recorded files."}),
		lost:    prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_recording_lost_segments_total", Help: "Segments that are missing in recorded files."}),
		remade:  prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_recording_remade_segments_total", Help: "Segments of rungs that were gaps and were made again for recordings."}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_recording_retries_total", Help: "Steps of a recording that failed and were tried again."}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "klive_recording_entries", Help: "Entries that this process is recording, or finishing the recordings of."}),
	}
	if r != nil {
		r.MustRegister(m.settled, m.bytes, m.lost, m.remade, m.retries, m.running)
	}
	return m
}
