package transcode

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"klive/infra/bus"
	"klive/infra/live"
)

const (
	// again is how long a job that failed waits before somebody takes it again.
	again = 300 * time.Millisecond
	// margin is what is left of a job's time for its result to be read and stored.
	margin = 500 * time.Millisecond
	// sayTimeout bounds the words behind a job's end.
	sayTimeout = 5 * time.Second
	// maxDead is how many inputs of dead jobs are kept.
	maxDead = 16
)

// attempt is one try of a job.
type attempt struct {
	w    *Worker
	job  *live.Job
	task *bus.Task
	id   string
	log  *slog.Logger

	began time.Time
	args  []string
	input [][]byte
	made  []string // the renditions that are on the bus,
	gone  []string // and those that were shed
	cpu   time.Duration
}

// do works on a job, and says what became of it: to others, and why it came to nothing to the worker.
func (w *Worker) do(ctx context.Context, task *bus.Task) error {
	job, err := live.UnmarshalJob(task.Data)
	if err != nil {
		w.Log.Error("a transcode job can't be read and is dropped; do all nodes run the same release?", "job", task.ID, "error", err)
		w.metrics.jobs.WithLabelValues("unreadable").Inc()
		w.done(ctx, task)
		return nil
	}
	a := &attempt{w: w, job: job, task: task, id: strings.ToLower(rand.Text()),
		log: w.Log.With("entry", job.Feed.Entry, "segment", job.Name(), "try", task.Tries)}
	threads := w.begin()
	a.log.Debug("a segment is taken", "threads", threads)
	release := a.hold()
	err = a.traced(ctx, threads)
	release()
	w.end()
	switch {
	case err == nil:
		w.metrics.jobs.WithLabelValues("done").Inc()
		w.done(ctx, task)
	case ctx.Err() != nil:
		w.metrics.jobs.WithLabelValues("returned").Inc()
		_ = task.Return(0) // somebody gets it after AckWait all the same
	case !errors.Is(err, errLate) && task.Tries < w.Tries && time.Now().Add(again).Before(job.Deadline):
		a.log.Warn("a transcode job failed and is tried again", "error", err)
		w.metrics.jobs.WithLabelValues("failed").Inc()
		if err := task.Return(again); err != nil {
			a.log.Warn("the job could not be given back; somebody gets it later", "error", err)
		}
	default:
		w.metrics.jobs.WithLabelValues("dead").Inc()
		a.bury(ctx, err)
		w.done(ctx, task)
	}
	return err
}

// traced runs the attempt within a span of its own.
func (a *attempt) traced(ctx context.Context, threads int) error {
	ctx, span := a.w.Tracer.Start(ctx, "transcode segment", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("klive.entry", a.job.Feed.Entry), attribute.String("klive.segment", a.job.Name()),
		attribute.StringSlice("klive.renditions", a.job.Outputs()), attribute.Int("klive.try", a.task.Tries),
		attribute.Int("klive.threads", threads), attribute.Float64("klive.media_seconds", a.job.End.Sub(a.job.Start).Seconds()),
		attribute.Float64("klive.queued_seconds", time.Since(a.job.Put).Seconds())))
	defer span.End()
	err := a.run(ctx, threads)
	span.SetAttributes(attribute.StringSlice("klive.made", a.made), attribute.StringSlice("klive.shed", a.gone),
		attribute.Float64("klive.ffmpeg_cpu_seconds", a.cpu.Seconds()))
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

// hold keeps the job in this worker's hands until it is released: the reading of parts and the
// publishing of results may each last longer than a taker may be silent.
func (a *attempt) hold() (release func()) {
	done := make(chan struct{})
	var holding sync.WaitGroup
	holding.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = a.task.Extend() // else another worker takes it as well
			}
		}
	})
	return func() { close(done); holding.Wait() }
}

func (w *Worker) done(ctx context.Context, task *bus.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sayTimeout)
	defer cancel()
	if err := task.Done(ctx); err != nil {
		w.Log.Warn("a finished transcode job could not be taken off the queue; it may be done again for nothing", "job", task.ID, "error", err)
	}
}

var errLate = errors.New("there was no time left before its deadline")

// run makes what is still missing of the job.
func (a *attempt) run(ctx context.Context, threads int) error {
	a.began = time.Now()
	if !a.began.Before(a.job.Deadline) {
		return errLate
	}
	if a.task.Tries > 1 {
		if err := a.leaveOut(ctx); err != nil {
			return err
		}
	}
	if len(a.job.Outputs()) == 0 {
		return nil
	}
	ctx, cancel := context.WithDeadlineCause(ctx, a.job.Deadline, errLate)
	defer cancel()
	src, err := read(ctx, a.w.Media, a.job)
	if err != nil {
		return err
	}
	if err := a.shed(ctx, src); err != nil {
		return err
	}
	if a.input, err = src.file(a.job); err != nil {
		return err
	}
	c := command{job: a.job, encoder: &a.w.Encoder, preset: a.w.Preset, threads: threads, trim: src.trim, pose: src.pose}
	a.args = c.args()
	p := process{path: a.w.FFmpeg, args: a.args, memory: a.w.Memory, stall: a.w.Stall}
	if a.task.Tries > 1 {
		a.w.metrics.restarts.Inc()
	}
	file, err := p.run(ctx, a.input)
	a.cpu = p.cpu
	if err == nil || errors.Is(err, errLate) {
		a.w.count(a.job, src, time.Since(a.began)) // of one that was ended it is less than the truth
	}
	if err != nil {
		a.w.metrics.failed(err)
		return err
	}
	good, bad := verify(a.job, src, file)
	for _, err := range bad {
		a.w.metrics.failed(err)
		break // one run of ffmpeg
	}
	if err := a.publish(ctx, good); err != nil {
		return err
	}
	a.log.Debug("a segment is transcoded", "took", time.Since(a.began), "renditions", len(good))
	return errors.Join(slices.Collect(maps.Values(bad))...)
}

// count learns from a job how fast this worker is.
func (w *Worker) count(j *live.Job, src *source, took time.Duration) {
	if len(j.Video) == 0 {
		return // sound says nothing of how fast pictures are made
	}
	w.mu.Lock()
	w.pace.add(workOf(src.pixels, j.Video, len(src.shown)), took)
	w.mu.Unlock()
}

// leaveOut takes what has an end already from the job.
func (a *attempt) leaveOut(ctx context.Context) error {
	ended := map[string]bool{}
	for _, name := range a.job.Outputs() {
		seq, err := a.w.Ends.LastSeq(ctx, a.job.EndSubject(name))
		if err != nil {
			return err
		}
		ended[name] = seq > 0
	}
	a.job.Video = slices.DeleteFunc(a.job.Video, func(v live.VideoJob) bool { return ended[v.Rendition] })
	if a.job.Audio != nil && ended[a.job.Audio.Rendition] {
		a.job.Audio = nil
	}
	a.job.Sounds = slices.DeleteFunc(a.job.Sounds, func(s live.AudioJob) bool { return ended[s.Rendition] })
	return nil
}

// shed gives up rungs when the time that is left does not do for all. When it does not do for the
// lowest, and the job has waited for the most of its time, the job is given up: those behind it
// in the queue have more left.
func (a *attempt) shed(ctx context.Context, src *source) error {
	left := time.Until(a.job.Deadline) - margin
	a.w.mu.Lock()
	keep, gone := a.w.pace.shed(a.job.Video, src.pixels, len(src.shown), left)
	fits := a.w.pace.fits(keep, src.pixels, len(src.shown), left)
	a.w.mu.Unlock()
	if !fits && left < a.job.Deadline.Sub(a.job.Put)/2 {
		return fmt.Errorf("%w: %v do not do for it", errLate, left.Round(time.Millisecond))
	}
	for _, v := range gone {
		a.log.Warn("too few workers for all rungs: one is left out of this segment; start more, or take rungs from the ladder", "rendition", v.Rendition, "left", time.Until(a.job.Deadline).Round(time.Millisecond))
		a.w.metrics.rungs.WithLabelValues(rungShed).Inc()
		a.w.metrics.sheds.WithLabelValues(a.w.metrics.labels.of(v.Rendition)).Inc()
		a.gone = append(a.gone, v.Rendition)
		if err := a.say(ctx, live.JobEnd{Rendition: v.Rendition, Failure: "there were too few workers for all rungs", Cause: rungShed}); err != nil && !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	a.job.Video = keep
	return nil
}

// publish brings the outputs to the bus, each with its end behind it.
func (a *attempt) publish(ctx context.Context, good []made) error {
	for i := range good {
		m := &good[i]
		subject := live.RungSubject(a.job.Feed.Entry, m.rendition, a.id)
		parts := m.parts(a.job)
		for n, p := range parts {
			if _, err := a.w.Media.Publish(ctx, subject, p.ID(), p); err != nil {
				a.w.Media.Release(subject, uint64(n)) // no end names them, so nobody else would
				return fmt.Errorf("publish %s: %w", m.rendition, err)
			}
		}
		err := a.say(ctx, live.JobEnd{Rendition: m.rendition, Attempt: a.id, Parts: uint64(len(parts))})
		if errors.Is(err, bus.ErrConflict) {
			a.w.Media.Release(subject, uint64(len(parts))) // another attempt was first
			a.w.metrics.rungs.WithLabelValues(rungTwice).Inc()
			continue
		}
		if err != nil {
			return err
		}
		a.w.metrics.made(a.job, m.rendition, a.began)
		a.made = append(a.made, m.rendition)
	}
	return nil
}

// say writes an output's end. bus.ErrConflict says that it has one already.
func (a *attempt) say(ctx context.Context, e live.JobEnd) error {
	data, err := e.Marshal()
	if err != nil {
		return err
	}
	_, err = a.w.Ends.Append(ctx, a.job.EndSubject(e.Rendition), a.id, data, 0)
	return err
}

// bury gives the job up: its missing outputs end with the reason, and it rests among the dead
// with its input.
func (a *attempt) bury(ctx context.Context, reason error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sayTimeout)
	defer cancel()
	dead := live.DeadJob{Job: *a.job, At: time.Now(), Worker: a.w.Name, Reason: reason.Error(), Command: a.args, Input: a.keep()}
	missing := slices.DeleteFunc(a.job.Outputs(), func(name string) bool { return slices.Contains(a.made, name) })
	a.log.Error("a segment could not be transcoded; its rungs show a gap", "renditions", missing, "error", reason, "input", dead.Input)
	cause := rungFailed
	if errors.Is(reason, errLate) {
		cause = rungLate
	}
	for _, name := range missing {
		switch err := a.say(ctx, live.JobEnd{Rendition: name, Failure: reason.Error(), Cause: cause}); {
		case err == nil:
			a.w.metrics.rungs.WithLabelValues(cause).Inc()
		case errors.Is(err, bus.ErrConflict): // another attempt was first
		default:
			a.log.Warn("the end of a rung could not be written; it becomes a gap at its deadline", "rendition", name, "error", err)
		}
	}
	data, err := dead.Marshal()
	if err == nil {
		err = a.record(ctx, data)
	}
	if err != nil {
		a.log.Warn("a dead job could not be recorded", "error", err)
	}
}

func (a *attempt) record(ctx context.Context, data []byte) error {
	last, err := a.w.Dead.LastSeq(ctx, a.job.Feed.Entry)
	if err != nil {
		return err
	}
	_, err = a.w.Dead.Append(ctx, a.job.Feed.Entry, a.id, data, last)
	return err
}

// keep writes the job's input to disk and returns the file's name. The oldest files go.
func (a *attempt) keep() string {
	if a.w.DeadDir == "" || len(a.input) == 0 {
		return ""
	}
	name := filepath.Join(a.w.DeadDir, a.job.ID()+".mp4")
	if err := os.WriteFile(name, bytes.Join(a.input, nil), 0o644); err != nil {
		a.log.Warn("a dead job's input could not be kept", "error", err)
		return ""
	}
	files, _ := filepath.Glob(filepath.Join(a.w.DeadDir, "*.mp4"))
	age := func(name string) int64 {
		if info, err := os.Stat(name); err == nil {
			return info.ModTime().UnixNano()
		}
		return 0
	}
	slices.SortFunc(files, func(x, y string) int { return int((age(x) - age(y)) / 1e6) })
	for _, old := range files[:max(0, len(files)-maxDead)] {
		_ = os.Remove(old)
	}
	return name
}
