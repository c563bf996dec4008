package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type emf struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name string }
		}
	} `json:"_aws"`
	Role  string
	Feeds *float64 `json:"klive_gateway_feeds"`
	Lost  *float64 `json:"klive_gateway_lost_parts_total"`
}

// A zero is published, series are summed, and counters go out as what was added.
func TestCloudWatchLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		feeds := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "klive_gateway_feeds"}, []string{"protocol"})
		lost := prometheus.NewCounter(prometheus.CounterOpts{Name: "klive_gateway_lost_parts_total"})
		other := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_goroutines"})
		r.MustRegister(feeds, lost, other)
		feeds.WithLabelValues("rtmp").Set(0)
		lost.Add(3)
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- (&CloudWatch{Namespace: "klive/acme", Role: "gateway", Gatherer: r, Out: &out}).Run(ctx, time.Minute)
		}()
		synctest.Wait()
		feeds.WithLabelValues("rtmp").Set(4)
		feeds.WithLabelValues("srt").Set(1)
		lost.Add(2)
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := [][2]float64{{0, 3}, {5, 2}}
		lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
		}
		for i, text := range lines {
			var l emf
			if err := json.Unmarshal(text, &l); err != nil {
				t.Fatal(err)
			}
			if l.Feeds == nil || l.Lost == nil || *l.Feeds != want[i][0] || *l.Lost != want[i][1] || l.Role != "gateway" {
				t.Errorf("line %d is %s; want feeds and lost parts %v", i, text, want[i])
			}
			d := l.AWS.CloudWatchMetrics
			if len(d) != 1 || d[0].Namespace != "klive/acme" || fmt.Sprint(d[0].Dimensions) != "[[Role]]" || len(d[0].Metrics) != 2 || l.AWS.Timestamp == 0 {
				t.Errorf("line %d: the directive is %+v", i, l.AWS)
			}
		}
	})
}

func TestCloudWatchSplitsLongLines(t *testing.T) {
	r := prometheus.NewRegistry()
	for i := range 150 {
		r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: fmt.Sprintf("klive_m%d", i)}))
	}
	var out bytes.Buffer
	if err := (&CloudWatch{Namespace: "n", Role: "r", Gatherer: r, Out: &out}).write(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 2 {
		t.Errorf("150 metrics are %d lines, want 2", n)
	}
}
