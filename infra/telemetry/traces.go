package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig says where spans go.
type TraceConfig struct {
	// URL is the collector's, OTLP over HTTP: http://collector:4318/v1/traces. Headers that it
	// asks for come from OTEL_EXPORTER_OTLP_HEADERS, as with every OpenTelemetry program.
	URL string
	// Version of klive and Node, this process's name, stand in each span's resource.
	Version, Node string
	Log           *slog.Logger
}

const (
	// traceQueue bounds the spans that wait for the collector; those over it are dropped.
	traceQueue   = 2048
	traceTimeout = 10 * time.Second
)

// Traces makes spans and sends them to a collector.
type Traces struct {
	provider *sdk.TracerProvider
}

// NewTraces returns traces that go to the collector of the configuration. It asks nobody; a
// collector that is away costs the spans, and a line in the log.
func NewTraces(ctx context.Context, c TraceConfig) (*Traces, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.URL), otlptracehttp.WithTimeout(traceTimeout))
	if err != nil {
		return nil, fmt.Errorf("telemetry.traces.url: %w", err)
	}
	return &Traces{sdk.NewTracerProvider(
		sdk.WithBatcher(logged{exporter, c.Log}, sdk.WithMaxQueueSize(traceQueue)),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "klive"), attribute.String("service.version", c.Version), attribute.String("service.instance.id", c.Node),
		)),
	)}, nil
}

// Tracer makes the spans of one room.
func (t *Traces) Tracer(room string) trace.Tracer { return t.provider.Tracer(room) }

// Close sends what waits, as long as ctx lasts.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// logged tells of spans that the collector did not take. The exporter's own report would go to
// the process's standard error.
type logged struct {
	sdk.SpanExporter
	log *slog.Logger
}

// ExportSpans implements [sdk.SpanExporter].
func (l logged) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := l.SpanExporter.ExportSpans(ctx, spans); err != nil {
		l.log.Warn("the collector of telemetry.traces.url does not take spans; they are lost", "spans", len(spans), "error", err)
	}
	return nil
}
