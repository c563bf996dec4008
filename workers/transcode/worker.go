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
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"klive/infra/bus"
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
	DeadDir string
	// Log defaults to silence, Registerer to no metrics, Tracer to no traces.
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
}

// Worker takes jobs until it is told to end. Make it with [New]; it runs once at a time.
type Worker struct {
	Config
	metrics *metrics
	cores   int

	// mu guards the fields below.
	mu     sync.Mutex
	active int
	pace   pace
	told   time.Time // when it was last said that the queue can't be read
}

// New returns a worker.
func New(c Config) (*Worker, error) {
	if c.Queue == nil || c.Ends == nil || c.Dead == nil || c.Media == nil || c.FFmpeg == "" || c.Encoder.Name == "" {
		return nil, errors.New("transcode: Queue, Ends, Dead, Media, FFmpeg and Encoder are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider().Tracer("")
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

const (
	// takeAgain is the pause after a queue that can't be asked.
	takeAgain = time.Second
	// tellEvery is how often it is said that it can't be.
	tellEvery = 10 * time.Minute
)

// Run works until the context ends, or until ffmpeg does not start any more ([ErrStart]). Jobs in hand are given back.
func (w *Worker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w.Log.Info("taking transcode jobs", "encoder", w.Encoder.Name, "jobs", w.Jobs)
	var wg sync.WaitGroup
	wg.Go(func() { w.watch(ctx) })
	for range w.Jobs {
		wg.Go(func() { w.slot(ctx, stop) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// slot takes one job after the other. It stops all when there is no use in it.
func (w *Worker) slot(ctx context.Context, stop context.CancelCauseFunc) {
	for ctx.Err() == nil {
		task, err := w.Queue.Take(ctx)
		switch {
		case errors.Is(err, bus.ErrClosed) || ctx.Err() != nil:
			return
		case err != nil:
			w.tell(err)
			select {
			case <-ctx.Done():
			case <-time.After(takeAgain):
			}
			continue
		}
		if err := w.do(ctx, task); errors.Is(err, ErrStart) {
			stop(err)
		}
	}
}

// tell says that the queue can't be read: once for all slots, and again when it lasts.
func (w *Worker) tell(err error) {
	w.mu.Lock()
	again := time.Since(w.told) < tellEvery
	if !again {
		w.told = time.Now()
	}
	w.mu.Unlock()
	if !again {
		w.Log.Warn("the queue of transcode jobs can't be read; it is tried again", "error", err)
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
