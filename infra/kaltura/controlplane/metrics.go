package controlplane

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_control_calls_total",
			Help: "Calls answered by the embedded control plane, by action and error code (ok when there was none).",
		}, []string{"action", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klive_control_call_seconds",
			Help:    "Time the embedded control plane took for a call.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"action"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe logs and counts one call. Names from the request are not used as labels:
// anybody may invent them.
func (s *Server) observe(c *call, r result, took time.Duration) {
	name, code := "unknown", "ok"
	if r.action != nil {
		name = r.action.service + "." + r.action.name
	}
	if r.err != nil {
		code = r.err.Code
	}
	s.metrics.calls.WithLabelValues(name, code).Inc()
	s.metrics.seconds.WithLabelValues(name).Observe(took.Seconds())

	attrs := []any{"action", name, "code", code, "partner", c.partner, "took", took}
	if c.ks != nil {
		attrs = append(attrs, "session_partner", c.ks.PartnerID, "user", short(c.ks.UserID), "privileges", short(c.ks.Privileges))
	}
	for _, p := range []string{"clientTag", "entryId", "hostname", "mediaServerIndex", "streamName"} {
		if v := text(c.params, p); v != "" {
			attrs = append(attrs, strings.ToLower(p), short(v))
		}
	}
	s.log.Debug("control plane call", attrs...)
}

// short bounds what a caller can put into a log line.
func short(s string) string {
	if len(s) > 100 {
		return s[:100]
	}
	return s
}
