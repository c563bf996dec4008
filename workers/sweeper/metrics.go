package sweeper

import "github.com/prometheus/client_golang/prometheus"

// metrics say what sweeps find.
type metrics struct {
	removed                   *prometheus.CounterVec
	expired                   prometheus.Counter
	foreign, unreadable, last prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_sweeper_removed_total", Help: "Objects removed because no timeline names them, by kind: media, init, chapter, expired (of a broadcast that is over).",
		}, []string{"kind"}),
		expired:    prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_sweeper_expired_broadcasts_total", Help: "Broadcasts that were over and have been removed."}),
		foreign:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "klive_sweeper_foreign_objects", Help: "Objects among the media whose keys are not klive's; they are left alone."}),
		unreadable: prometheus.NewGauge(prometheus.GaugeOpts{Name: "klive_sweeper_unreadable_entries", Help: "Entries whose timeline could not be read, so that nothing of them was removed."}),
		last:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "klive_sweeper_last_success_timestamp_seconds", Help: "When a sweep of this process last looked at everything."}),
	}
	if r != nil {
		r.MustRegister(m.removed, m.expired, m.foreign, m.unreadable, m.last)
	}
	return m
}
