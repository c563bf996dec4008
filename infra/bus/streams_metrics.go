package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// statsTimeout bounds what is asked of the servers for metrics and status pages.
const statsTimeout = 2 * time.Second

// ShardStats is the state of one stream of the media plane.
type ShardStats struct {
	Name     string    `json:"name"`
	Leader   string    `json:"leader,omitempty"` // the server that leads it; empty without a cluster
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"`
	Subjects uint64    `json:"subjects"`
	Oldest   time.Time `json:"oldest,omitzero"` // when its oldest and newest message were stored
	Newest   time.Time `json:"newest,omitzero"`
}

// Stats asks the servers for the state of the media streams, for at most two seconds.
func (s *Streams) Stats(ctx context.Context) ([]ShardStats, error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	stats := make([]ShardStats, 0, len(s.shards))
	for _, sh := range s.shards {
		info, err := sh.stream.Info(ctx)
		if err != nil {
			return nil, busError("ask for the state of media stream "+sh.name, err)
		}
		st := ShardStats{Name: sh.name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Subjects: info.State.NumSubjects}
		if info.Cluster != nil {
			st.Leader = info.Cluster.Leader
		}
		if st.Messages > 0 {
			st.Oldest, st.Newest = info.State.FirstTime, info.State.LastTime
		}
		stats = append(stats, st)
	}
	return stats, nil
}

// streamMetrics is what the engine tells about itself.
type streamMetrics struct {
	publish                    prometheus.Histogram
	failed, retries, purged    prometheus.Counter
	followed, aged, unreadable prometheus.Counter
	reopened                   prometheus.Counter

	bytes, messages, oldest, newest *prometheus.Desc
}

func newStreamMetrics() *streamMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "klive", Subsystem: "bus_media", Name: name, Help: help})
	}
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("klive", "bus_media", name), help, []string{"stream"}, nil)
	}
	return &streamMetrics{
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "klive", Subsystem: "bus_media", Name: "publish_seconds",
			Help:    "From a publish to its acknowledgement by the replicas.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		failed:     counter("publish_failed_total", "Publishes that gave up."),
		retries:    counter("retries_total", "Requests that were repeated because no answer came, publishes among them."),
		purged:     counter("purged_total", "Messages removed because their subject had too many bytes."),
		followed:   counter("followed_total", "Messages read by this process's followers."),
		aged:       counter("aged_out_total", "Messages that had left the bus before a follower read them."),
		unreadable: counter("unreadable_total", "Messages that could not be decoded."),
		reopened:   counter("follower_reopened_total", "Times a follower had to be set up again."),
		bytes:      gauge("bytes", "Bytes that the media stream keeps."),
		messages:   gauge("messages", "Messages that the media stream keeps."),
		oldest:     gauge("oldest_seconds", "Age of the oldest message that the media stream keeps."),
		newest:     gauge("newest_seconds", "Age of the newest message of the media stream."),
	}
}

func (m *streamMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.publish, m.failed, m.retries, m.purged, m.followed, m.aged, m.unreadable, m.reopened}
}

// register exports the metrics until unregister.
func (s *Streams) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, c := range append(s.metrics.collectors(), streamCollector{s}) {
		if err := reg.Register(c); err != nil {
			s.unregister()
			return fmt.Errorf("bus: metrics of the media streams: %w", err)
		}
		s.exported = append(s.exported, c)
	}
	return nil
}

func (s *Streams) unregister() {
	for _, c := range s.exported {
		s.config.Registerer.Unregister(c)
	}
}

// streamCollector asks the servers when metrics are read.
type streamCollector struct{ *Streams }

func (c streamCollector) Describe(ch chan<- *prometheus.Desc) {
	m := c.metrics
	for _, d := range []*prometheus.Desc{m.bytes, m.messages, m.oldest, m.newest} {
		ch <- d
	}
}

func (c streamCollector) Collect(ch chan<- prometheus.Metric) {
	stats, err := c.Stats(c.ctx)
	if err != nil {
		return // the counters of failures tell
	}
	now := time.Now()
	for _, st := range stats {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, st.Name)
		}
		gauge(c.metrics.bytes, float64(st.Bytes))
		gauge(c.metrics.messages, float64(st.Messages))
		if st.Messages > 0 {
			gauge(c.metrics.oldest, now.Sub(st.Oldest).Seconds())
			gauge(c.metrics.newest, now.Sub(st.Newest).Seconds())
		}
	}
}
