package spool

import "github.com/prometheus/client_golang/prometheus"

// metrics say how the spool fares.
type metrics struct {
	held, drained, failures prometheus.Counter
	givenUp                 *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, stats func() Stats) metrics {
	m := metrics{
		held:    prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_spool_held_total", Help: "Objects put on local disk because the store did not take them in time."}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_spool_drained_total", Help: "Spooled objects that were stored afterwards."}),
		givenUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_spool_given_up_total", Help: "Objects that were lost, by reason: age, bytes, damaged.",
		}, []string{"reason"}),
	}
	m.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_spool_disk_failures_total", Help: "Objects that could not be put on local disk, because it is full or fails."})
	if r == nil {
		return m
	}
	gauge := func(name, help string, f func(Stats) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(stats()) }))
	}
	gauge("klive_spool_objects", "Objects that wait on local disk.", func(s Stats) float64 { return float64(s.Objects) })
	gauge("klive_spool_bytes", "Bytes that wait on local disk.", func(s Stats) float64 { return float64(s.Bytes) })
	gauge("klive_spool_oldest_seconds", "Age of the oldest object that waits.", func(s Stats) float64 { return s.Oldest.Seconds() })
	gauge("klive_spool_store_away", "1 while the store does not take writes.", func(s Stats) float64 {
		if s.AwaySince.IsZero() {
			return 0
		}
		return 1
	})
	r.MustRegister(m.held, m.drained, m.failures, m.givenUp)
	return m
}
