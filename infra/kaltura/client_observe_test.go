package kaltura_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"klive/infra/kaltura"
)

func gauge(t *testing.T, r prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// counts are the counted calls by "<call> <code>".
func counts(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "klive_kaltura_calls_total" {
				out[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// Calls are counted and timed by call and code; an API that makes codes up makes no new series.
func TestCallsAreMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	n := 0
	c := client(t, roundTrip(func(*http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return reply(200, "application/json", `{"id":"0_rkij47dr"}`), nil
		}
		return reply(200, "application/json", fmt.Sprintf(`{"code":"CODE_%d","message":"x"}`, n)), nil
	}), func(c *kaltura.ClientConfig) { c.Registerer = registry })
	for range 50 {
		_, err := c.LiveStreamGet(t.Context(), 102, "0_rkij47dr")
		if n > 1 && !kaltura.IsCode(err, fmt.Sprintf("CODE_%d", n)) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	got := counts(t, registry)
	if len(got) != 2 || got["liveStream.get ok"] != 1 || got["liveStream.get other"] != 49 {
		t.Errorf("counted %v", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "klive_kaltura_call_seconds" && f.GetMetric()[0].GetHistogram().GetSampleCount() != 50 {
			t.Errorf("%d calls were timed", f.GetMetric()[0].GetHistogram().GetSampleCount())
		}
	}
}

// Each call is a span with its outcome, and shows neither session nor token nor entry.
func TestCallsAreSpans(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	answer := `{"id":"0_rkij47dr"}`
	c := client(t, roundTrip(func(*http.Request) (*http.Response, error) { return reply(200, "application/json", answer), nil }),
		func(c *kaltura.ClientConfig) { c.Tracer = provider.Tracer("test") })
	ctx, outer := provider.Tracer("test").Start(t.Context(), "outer")
	for _, answer = range []string{`{"id":"0_rkij47dr"}`, `{"code":"LIVE_STREAM_INVALID_TOKEN","message":"x"}`} {
		_, err := c.Authenticate(ctx, 102, kaltura.AuthenticateRequest{EntryID: "0_rkij47dr", Token: token("dj94kfit")})
		if (err == nil) != strings.HasPrefix(answer, `{"id"`) {
			t.Error(err)
		}
	}
	outer.End()
	got := spans.GetSpans()
	if len(got) != 3 {
		t.Fatalf("%d spans", len(got))
	}
	for i, want := range []struct {
		code   string
		status codes.Code
	}{{"ok", codes.Unset}, {"LIVE_STREAM_INVALID_TOKEN", codes.Error}} {
		s := got[i]
		all := fmt.Sprint(s.Name, s.Attributes, s.Status)
		if s.Name != "kaltura liveStream.authenticate" || s.Status.Code != want.status || !strings.Contains(all, want.code) || !strings.Contains(all, "102") ||
			s.Parent.SpanID() != outer.SpanContext().SpanID() {
			t.Errorf("span %s", all)
		}
		if strings.Contains(all, "dj94kfit") || strings.Contains(all, "rkij47dr") {
			t.Errorf("the span tells too much: %s", all)
		}
	}
}
