package s3

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
)

// metrics count calls. Their labels are operations and a few results.
type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	repeats *prometheus.CounterVec
	bytes   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_s3_calls_total", Help: "Calls to the bucket with their repeats, by operation and result.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "klive_s3_call_seconds", Help: "Time of calls with their repeats; of a get until the body begins.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"op"}),
		repeats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_s3_repeats_total", Help: "Attempts that were repeated, by operation and reason.",
		}, []string{"op", "reason"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_s3_bytes_total", Help: "Bytes of bodies, by direction (in, out of the bucket); repeats are not counted.",
		}, []string{"direction"}),
	}
	if r != nil {
		r.MustRegister(m.calls, m.seconds, m.repeats, m.bytes)
	}
	return m
}

func (m *metrics) note(op string, took time.Duration, err error) {
	m.calls.WithLabelValues(op, result(err)).Inc()
	m.seconds.WithLabelValues(op).Observe(took.Seconds())
}

// result names the outcome of a call.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, storage.ErrNotFound):
		return "notfound"
	case errors.Is(err, storage.ErrPrecondition):
		return "precondition"
	case errors.Is(err, storage.ErrRange):
		return "range"
	case errors.Is(err, storage.ErrFull):
		return "full"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "error"
}
