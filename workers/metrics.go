package workers

import "github.com/prometheus/client_golang/prometheus"

// metrics count what happens to the ownership of entries.
type metrics struct {
	owned prometheus.Gauge
	// takeovers are open broadcasts that this process went on with, whatever the way; steals are
	// leases taken from silent workers; handovers are entries given to another worker; moves are
	// those of them that were given away to spread the load.
	takeovers, steals, handovers, moves prometheus.Counter
	// lost are leases that this process lost without giving them back.
	lost prometheus.Counter
	// took is how long an entry waited from when this process saw its lease free, or its owner
	// silent, until it was packaged again.
	took prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "klive", Subsystem: "owner", Name: name, Help: help})
	}
	m := &metrics{
		owned:     prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Name: "owned_entries", Help: "Live entries that this process owns."}),
		takeovers: counter("takeovers_total", "Open broadcasts that this process went on with as their new owner."),
		steals:    counter("steals_total", "Leases taken from workers that had fallen silent."),
		handovers: counter("handovers_total", "Entries handed over to another worker."),
		moves:     counter("moves_total", "Entries handed over to spread the load."),
		lost:      counter("lost_total", "Leases lost without being given back."),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "owner", Name: "takeover_seconds",
			Help:    "Time from seeing an entry without an owner to packaging it.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
	}
	if reg != nil {
		reg.MustRegister(m.owned, m.takeovers, m.steals, m.handovers, m.moves, m.lost, m.took)
	}
	return m
}
