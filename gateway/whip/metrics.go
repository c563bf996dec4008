package whip

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"klive/infra/live"
)

// metrics is what the server tells about itself.
type metrics struct {
	sessions  prometheus.Gauge
	accepted  prometheus.Counter
	requests  *prometheus.CounterVec
	ended     *prometheus.CounterVec
	panics    prometheus.Counter
	packets   *prometheus.CounterVec
	damaged   prometheus.Counter
	malformed prometheus.Counter
	nacks     prometheus.Counter
	plis      prometheus.Counter
	rtt       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "klive", Subsystem: "whip", Name: name, Help: help}
	}
	return &metrics{
		sessions:  f.NewGauge(prometheus.GaugeOpts{Namespace: "klive", Subsystem: "whip", Name: "sessions", Help: "Sessions that are connected or about to be."}),
		accepted:  f.NewCounter(counter("accepted_total", "Offers that were answered.")),
		requests:  f.NewCounterVec(counter("requests_total", "Requests, by method and the status of their answer."), []string{"method", "status"}),
		ended:     f.NewCounterVec(counter("ended_total", "Sessions by what ended them: deleted, left, timeout, gateway, media, fault."), []string{"cause"}),
		panics:    f.NewCounter(counter("panics_total", "Faults that were caught.")),
		packets:   f.NewCounterVec(counter("packets_total", "Media packets by what became of them: received (repeats included), lost on the way, retransmitted, belated, dropped."), []string{"kind"}),
		damaged:   f.NewCounter(counter("damaged_units_total", "Access units left out because packets of them, or of what they depend on, are missing.")),
		malformed: f.NewCounter(counter("malformed_total", "Packets and access units that contradict themselves.")),
		nacks:     f.NewCounter(counter("nacks_total", "Requests for missing packets, by packet.")),
		plis:      f.NewCounter(counter("plis_total", "Requests for keyframes.")),
		rtt: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "klive", Subsystem: "whip", Name: "rtt_seconds", Help: "Round-trip times, one sample a second for each session.",
			Buckets: []float64{.001, .005, .01, .02, .05, .1, .2, .5, 1},
		}),
	}
}

// link counts what was new at a look at a session.
func (m *metrics) link(news live.LinkStats) {
	for kind, n := range map[string]uint64{
		"received": news.Received, "lost": news.Lost, "retransmitted": news.Retransmitted, "belated": news.Belated, "dropped": news.Dropped,
	} {
		m.packets.WithLabelValues(kind).Add(float64(n))
	}
	if news.RTT > 0 {
		m.rtt.Observe(news.RTT / 1000)
	}
}

// What ends a session, for metrics.
const (
	endDeleted = "deleted" // by the encoder
	endLeft    = "left"    // the encoder closed its connection
	endTimeout = "timeout" // nothing came in time
	endGateway = "gateway" // kicked, taken over, shut down
	endMedia   = "media"   // it can't be used
	endFault   = "fault"
)
