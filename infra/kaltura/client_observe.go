package kaltura

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

type clientMetrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newClientMetrics(r prometheus.Registerer, more ...prometheus.Collector) (*clientMetrics, error) {
	m := &clientMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_kaltura_calls_total",
			Help: "Calls of the Kaltura API, by action and outcome: ok, an error code of the API (other for unknown ones), no_answer, bad_answer, refused (not made, because the API has not answered), canceled.",
		}, []string{"call", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klive_kaltura_call_seconds",
			Help:    "Time a call of the Kaltura API took, repetitions included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"call"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range append(more, m.calls, m.seconds) {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// outcome is the label of how a call ended. It is one of a fixed set, whatever an API answers.
func outcome(err error) string {
	var api *APIError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &api):
		if slices.Contains(knownCodes(), api.Code) {
			return api.Code
		}
		return "other"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.As(err, new(*AnswerError)):
		return "bad_answer"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "no_answer"
}

// span begins the trace span of a call. It names no entry, session or token.
func (c *Client) span(ctx context.Context, v invocation) (context.Context, trace.Span) {
	return c.tracer.Start(ctx, "kaltura "+v.name(), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("kaltura.call", v.name()), attribute.Int("kaltura.partner", v.partner)))
}

// observe counts, traces and logs a call, without session, token or secret.
func (c *Client) observe(span trace.Span, v invocation, err error, took time.Duration) {
	code := outcome(err)
	c.metrics.calls.WithLabelValues(v.name(), code).Inc()
	c.metrics.seconds.WithLabelValues(v.name()).Observe(took.Seconds())
	span.SetAttributes(attribute.String("kaltura.code", code))
	if err != nil {
		span.SetStatus(codes.Error, code)
	}
	span.End()
	attrs := []any{"call", v.name(), "partner", v.partner, "code", code, "took", took}
	for _, name := range []string{"entryId", "streamName", "hostname", "mediaServerIndex", "liveEntryStatus"} {
		if value := v.form.Get(name); value != "" {
			attrs = append(attrs, name, bounded(value, 100))
		}
	}
	c.log.Debug("Kaltura API call", attrs...)
}
