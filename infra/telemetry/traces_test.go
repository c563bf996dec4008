package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Spans arrive at a collector, over a socket, with the version they come from.
func TestTracesReachACollector(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	var path, kind string
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got, path, kind = append(got, body...), r.URL.Path, r.Header.Get("Content-Type")
	}))
	defer collector.Close()
	traces, err := NewTraces(t.Context(), TraceConfig{URL: collector.URL + "/v1/traces", Version: "1.2.3", Node: "node-1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Tracer("kaltura").Start(t.Context(), "kaltura liveStream.get", trace.WithAttributes(attribute.String("kaltura.code", "ok")))
	span.End()
	if err := traces.Close(t.Context()); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, s := range []string{"kaltura liveStream.get", "kaltura.code", "klive", "1.2.3", "node-1"} {
		if !bytes.Contains(got, []byte(s)) {
			t.Errorf("%q is not among the %d bytes that came", s, len(got))
		}
	}
	if path != "/v1/traces" || kind != "application/x-protobuf" {
		t.Errorf("%s to %s", kind, path)
	}
}

// A collector that refuses, or is not there, costs the spans and a line in the log.
func TestTracesWithoutACollector(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	var log bytes.Buffer
	traces, err := NewTraces(t.Context(), TraceConfig{URL: refuses.URL, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Tracer("kaltura").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := traces.Close(ctx); err != nil || strings.Count(log.String(), "telemetry.traces.url") != 1 {
		t.Errorf("%v; the log says %q", err, log.String())
	}
}
