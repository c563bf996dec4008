package transcode

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/live"
)

// metrics are a worker's.
type metrics struct {
	backlog, waiting, active prometheus.Gauge
	jobs                     *prometheus.CounterVec
	rungs                    *prometheus.CounterVec
	speed                    *prometheus.HistogramVec
	took                     prometheus.Histogram
	sheds                    *prometheus.CounterVec
	restarts                 prometheus.Counter
	failures                 *prometheus.CounterVec

	labels labels
}

// What became of a rung's segment, as metrics and the ends of jobs name it.
const (
	rungMade   = "made"
	rungShed   = "shed"
	rungLate   = "late"
	rungFailed = "failed"
	rungTwice  = "twice" // another attempt's result counts
)

func newMetrics(reg prometheus.Registerer) *metrics {
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "klive", Subsystem: "transcode", Name: n, Help: help}
	}
	counter := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(name(n, help)), labels)
	}
	m := &metrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts(name("backlog_seconds", "Age of the oldest transcode job on the bus, the same at each worker: scale workers by its maximum."))),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts(name("queue_jobs", "Transcode jobs on the bus that nobody has taken."))),
		active:  prometheus.NewGauge(prometheus.GaugeOpts(name("active_jobs", "Transcode jobs that this process works on."))),
		jobs:    counter("jobs_total", "Transcode jobs that were taken, by what became of them.", "result"),
		rungs:   counter("rungs_total", "Segments of rungs, by what became of them: made, shed (too few workers), late (past the deadline), failed, twice (made by another worker before).", "result"),
		speed: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "transcode", Name: "realtime_factor",
			Help: "Media time of a rung's segment over the time from the taking of its job until it was on the bus, by flavor params id (audio for the sound). Below 1 one worker's slot alone does not keep up with one stream.", Buckets: []float64{.25, .5, .75, 1, 1.5, 2, 3, 5, 10, 20}}, []string{"rung"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "transcode", Name: "delay_seconds",
			Help: "Time from when a job was put until its result was on the bus.", Buckets: []float64{.25, .5, 1, 2, 3, 4, 6, 8, 12, 24}}),
		sheds:    counter("sheds_total", "Segments of rungs that were left out because there are too few workers, by flavor params id.", "rung"),
		restarts: prometheus.NewCounter(prometheus.CounterOpts(name("ffmpeg_restarts_total", "Runs of ffmpeg for a segment that a run before, here or at another worker, did not finish."))),
		failures: counter("ffmpeg_failures_total", "Runs of ffmpeg without a result, by reason: start (it is not there), stalled, late (ended at the deadline), error, output (what it made does not fit its source).", "reason"),
	}
	if reg != nil {
		reg.MustRegister(m.backlog, m.waiting, m.active, m.jobs, m.rungs, m.speed, m.took, m.sheds, m.restarts, m.failures)
	}
	return m
}

// failed counts a run of ffmpeg that came to nothing.
func (m *metrics) failed(err error) {
	reason := "error"
	switch {
	case errors.Is(err, ErrStart):
		reason = "start"
	case errors.Is(err, errStalled):
		reason = "stalled"
	case errors.Is(err, errLate):
		reason = "late"
	case errors.Is(err, ErrOutput):
		reason = "output"
	}
	m.failures.WithLabelValues(reason).Inc()
}

// made counts a rendition that is on the bus.
func (m *metrics) made(j *live.Job, rendition string, began time.Time) {
	m.rungs.WithLabelValues(rungMade).Inc()
	m.took.Observe(time.Since(j.Put).Seconds())
	m.speed.WithLabelValues(m.labels.of(rendition)).Observe(j.End.Sub(j.Start).Seconds() / max(time.Since(began).Seconds(), 0.01))
}

// maxRungLabels bounds the series by rung: params ids come from the API.
const maxRungLabels = 64

// labels are the rungs that have series of their own.
type labels struct {
	// mu guards the field below.
	mu   sync.Mutex
	seen map[string]bool
}

// of is a rendition's label: its params id, "audio", or "other" for those that are too many.
func (l *labels) of(rendition string) string {
	id := rendition[strings.LastIndexByte(rendition, '_')+1:]
	if _, err := strconv.Atoi(id); err != nil {
		return "audio"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if !l.seen[id] && len(l.seen) == maxRungLabels {
		return "other"
	}
	l.seen[id] = true
	return id
}
