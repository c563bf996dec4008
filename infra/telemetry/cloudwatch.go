package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxEMFMetrics is how many metrics one line may name (CloudWatch embedded metric format).
const maxEMFMetrics = 100

// CloudWatch writes klive's own metrics as lines in CloudWatch's embedded metric format, which
// CloudWatch takes out of a task's log. Gauges go out as they are, a zero too, so that an
// average over processes is right; counters as what was added since the line before. Series of
// one name are summed. Histograms are left out.
type CloudWatch struct {
	// Namespace is where the metrics appear, Role the value of their one dimension, "Role".
	Namespace, Role string
	Gatherer        prometheus.Gatherer
	// Out takes the lines: the process's standard output.
	Out io.Writer

	before map[string]float64
}

// Run writes the metrics each time, until the context ends. It returns the first error of
// gathering or writing.
func (c *CloudWatch) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := c.write(time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// write writes the metrics of one moment, in as many lines as they need.
func (c *CloudWatch) write(now time.Time) error {
	families, err := c.Gatherer.Gather()
	if err != nil && len(families) == 0 { // else one collector failed, and the others count
		return fmt.Errorf("telemetry: metrics for CloudWatch: %w", err)
	}
	var names []string
	values := map[string]float64{}
	for _, f := range families {
		var sum float64
		for _, m := range f.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them, the other is 0
		}
		name, kind := f.GetName(), f.GetType().String()
		if !strings.HasPrefix(name, "klive_") || kind != "GAUGE" && kind != "COUNTER" || math.IsNaN(sum) || math.IsInf(sum, 0) {
			continue
		}
		if kind == "COUNTER" {
			sum = c.added(name, sum)
		}
		names = append(names, name)
		values[name] = sum
	}
	for len(names) > 0 {
		n := min(len(names), maxEMFMetrics)
		if err := c.line(now, names[:n], values); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// added is what a counter has grown by since the time before.
func (c *CloudWatch) added(name string, all float64) float64 {
	if c.before == nil {
		c.before = map[string]float64{}
	}
	before := c.before[name]
	c.before[name] = all
	return all - before
}

func (c *CloudWatch) line(now time.Time, names []string, values map[string]float64) error {
	type metric struct{ Name string }
	type directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []metric
	}
	d := directive{Namespace: c.Namespace, Dimensions: [][]string{{"Role"}}}
	text := map[string]any{"Role": c.Role}
	for _, n := range names {
		d.Metrics = append(d.Metrics, metric{n})
		text[n] = values[n]
	}
	text["_aws"] = map[string]any{"Timestamp": now.UnixMilli(), "CloudWatchMetrics": []directive{d}}
	b, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("telemetry: metrics for CloudWatch: %w", err)
	}
	if _, err := c.Out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("telemetry: metrics for CloudWatch: %w", err)
	}
	return nil
}
