package transcode

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
)

// Queue hands out jobs; *bus.Queue implements it.
type Queue interface {
	Take(ctx context.Context) (*bus.Task, error)
	State(ctx context.Context) (bus.QueueState, error)
}

// Log keeps the ends of jobs; *bus.Log implements it.
type Log interface {
	Append(ctx context.Context, subject, id string, data []byte, last uint64) (uint64, error)
	LastSeq(ctx context.Context, subject string) (uint64, error)
}

// Config is what [New] needs. Queue, Ends, Dead, Media and FFmpeg are required.
type Config struct {
	// Name names the process.
	Name  string
	Queue Queue
	// Ends is where the ends of jobs stand, Dead where the jobs that were given up do.
	Ends, Dead Log
	Media      bus.Media
	// FFmpeg is the program's path, Encoder the encoder that it uses and Preset its preset;
	// empty means the encoder's default.
	FFmpeg  string
	Encoder Encoder
	Preset  string
	// Jobs is how many run at a time, Threads how many threads each has. 0 means: as many jobs
	// as there are cores, and each as many threads as leaves no core idle.
	Jobs, Threads int
	// Memory bounds an ffmpeg's address space in bytes; 0 means no bound.
	Memory int64
	// Stall is how long an ffmpeg may not advance; default 10 s.
	Stall time.Duration
	// Tries is how often a job is begun, by all workers, before it is given up; default 3.
	Tries int
	// DeadDir is where the inputs of jobs that were given up are kept, the newest 16 of them;
	// empty means nowhere.
	DeadDir    string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Worker takes jobs until it is told to end. Make it with [New], run it once.
type Worker struct {
	Config
	metrics *metrics
	cores   int

	// mu guards the fields below.
	mu     sync.Mutex
	active int
	pace   pace
}

// New returns a worker.
func New(c Config) (*Worker, error) {
	if c.Queue == nil || c.Ends == nil || c.Dead == nil || c.Media == nil || c.FFmpeg == "" || c.Encoder.Name == "" {
		return nil, errors.New("transcode: Queue, Ends, Dead, Media, FFmpeg and Encoder are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Stall <= 0 {
		c.Stall = 10 * time.Second
	}
	if c.Tries <= 0 {
		c.Tries = 3
	}
	w := &Worker{Config: c, metrics: newMetrics(c.Registerer), cores: runtime.GOMAXPROCS(0)}
	if w.Jobs <= 0 {
		w.Jobs = w.cores
	}
	if c.DeadDir != "" {
		if err := os.MkdirAll(c.DeadDir, 0o755); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// takeAgain is the pause after a queue that can't be asked.
const takeAgain = time.Second

// Run works until the context ends. Jobs in hand are given back.
func (w *Worker) Run(ctx context.Context) error {
	w.Log.Info("taking transcode jobs", "encoder", w.Encoder.Name, "jobs", w.Jobs)
	var wg sync.WaitGroup
	wg.Go(func() { w.watch(ctx) })
	for range w.Jobs {
		wg.Go(func() { w.slot(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// slot takes one job after the other.
func (w *Worker) slot(ctx context.Context) {
	for ctx.Err() == nil {
		task, err := w.Queue.Take(ctx)
		switch {
		case errors.Is(err, bus.ErrClosed) || ctx.Err() != nil:
			return
		case err != nil:
			w.Log.Warn("the queue of transcode jobs can't be read, trying again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(takeAgain):
			}
			continue
		}
		w.do(ctx, task)
	}
}

// begin counts a job that starts and says how many threads it gets; end counts it off.
func (w *Worker) begin() (threads int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active++
	w.metrics.active.Set(float64(w.active))
	if w.Threads > 0 {
		return w.Threads
	}
	return max(1, w.cores/w.active)
}

func (w *Worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active--
	w.metrics.active.Set(float64(w.active))
}

// watchEvery is how often the queue is looked at, for the metrics.
const watchEvery = 2 * time.Second

// watch keeps the metrics of the queue.
func (w *Worker) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if s, err := w.Queue.State(ctx); err == nil {
			age := 0.0
			if !s.Oldest.IsZero() {
				age = max(0, time.Since(s.Oldest).Seconds())
			}
			w.metrics.backlog.Set(age)
			w.metrics.waiting.Set(float64(max(0, s.Tasks-s.Taken)))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// metrics are a worker's.
type metrics struct {
	backlog, waiting, active prometheus.Gauge
	jobs                     *prometheus.CounterVec
	rungs                    *prometheus.CounterVec
	speed                    prometheus.Histogram
	took                     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "klive", Subsystem: "transcode", Name: n, Help: help}
	}
	m := &metrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts(name("backlog_seconds", "Age of the oldest transcode job on the bus, the same at each worker: scale workers by its maximum."))),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts(name("queue_jobs", "Transcode jobs on the bus that nobody has taken."))),
		active:  prometheus.NewGauge(prometheus.GaugeOpts(name("active_jobs", "Transcode jobs that this process works on."))),
		jobs:    prometheus.NewCounterVec(prometheus.CounterOpts(name("jobs_total", "Transcode jobs that were taken, by what became of them.")), []string{"result"}),
		rungs:   prometheus.NewCounterVec(prometheus.CounterOpts(name("rungs_total", "Segments of rungs, by what became of them.")), []string{"result"}),
		speed: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "transcode", Name: "speed_ratio",
			Help: "Media time of a job over the time it took.", Buckets: []float64{.25, .5, .75, 1, 1.5, 2, 3, 5, 10, 20}}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "klive", Subsystem: "transcode", Name: "delay_seconds",
			Help: "Time from when a job was put until its result was on the bus.", Buckets: []float64{.25, .5, 1, 2, 3, 4, 6, 8, 12, 24}}),
	}
	if reg != nil {
		reg.MustRegister(m.backlog, m.waiting, m.active, m.jobs, m.rungs, m.speed, m.took)
	}
	return m
}

// pace is how fast this worker's jobs were: the work of a second, which [workOf] measures.
type pace struct{ perSecond float64 }

// add counts a job.
func (p *pace) add(work float64, took time.Duration) {
	now := work / max(took.Seconds(), 0.01)
	if p.perSecond == 0 {
		p.perSecond = now
		return
	}
	p.perSecond += (now - p.perSecond) / 4
}

// workOf is what a job costs: pixels that are decoded and encoded, the former at a quarter.
func workOf(decoded int, video []live.VideoJob, frames int) float64 {
	work := float64(decoded) / 4
	for i := range video {
		work += float64(video[i].Width*video[i].Height) / float64(video[i].Skip+1)
	}
	return work * float64(frames)
}

// fits reports whether the rungs can be made in the time left, as far as that is known.
func (p *pace) fits(video []live.VideoJob, decoded, frames int, left time.Duration) bool {
	return p.perSecond == 0 || workOf(decoded, video, frames)/p.perSecond <= left.Seconds()
}

// shed returns the rungs that can be made in the time left, lowest bitrate last to go, and
// those that are given up, highest first; one always stays.
func (p *pace) shed(video []live.VideoJob, decoded, frames int, left time.Duration) (keep, gone []live.VideoJob) {
	keep = video
	for len(keep) > 1 && !p.fits(keep, decoded, frames, left) {
		most := 0
		for i := range keep {
			if keep[i].Bitrate > keep[most].Bitrate {
				most = i
			}
		}
		gone = append(gone, keep[most])
		keep = append(keep[:most:most], keep[most+1:]...)
	}
	return keep, gone
}
