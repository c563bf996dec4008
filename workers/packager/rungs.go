package packager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage/timeline"
)

// rungs is what the writer has ordered from transcode workers. Results come by the log of
// ends: the first end of an output counts, for every owner of the entry alike. What has none
// at its deadline is a gap.
type rungs struct {
	w     *writer
	first chan struct{} // closed when something was ordered for the first time
	begin sync.Once     // closes first

	// mu guards the fields below.
	mu      sync.Mutex
	pending map[string]*rung // by end subject
}

// rung is one medium that was ordered.
type rung struct {
	broadcast *timeline.Broadcast
	seq       uint64
	media     timeline.Media
	of        *shelved
	deadline  time.Time
	video     *live.VideoJob // nil for sound
}

// rungResult is a rung with what came of it.
type rungResult struct {
	*rung
	made *live.Assembly
}

const (
	// endsAgain is the pause before the log of ends is followed again.
	endsAgain = 300 * time.Millisecond
	// deadlineCheck is how often deadlines are looked at once there are any.
	deadlineCheck = 200 * time.Millisecond
	// fetchWait bounds the reading of a result, which is on the bus.
	fetchWait = 5 * time.Second
)

func newRungs(w *writer) *rungs {
	return &rungs{w: w, pending: map[string]*rung{}, first: make(chan struct{})}
}

// start follows the ends of jobs and looks at the deadlines until the context ends.
func (r *rungs) start(ctx context.Context) {
	r.w.others.Go(func() { r.follow(ctx) })
	r.w.others.Go(func() { r.expire(ctx) })
}

// order asks for an item's rungs: one job for each segment that they are made of.
func (w *writer) order(ctx context.Context, broadcast string, seq uint64, list []timeline.Media, of *shelved) {
	if len(list) == 0 {
		return
	}
	b := w.p.Timeline.State().Current()
	jobs := map[string]*live.Job{}
	for _, m := range list {
		j := m.Encode.Job
		w.rungs.expect(&rung{broadcast: b, seq: seq, media: m, of: of, deadline: j.Deadline}, j)
		addTo(jobs, j)
	}
	w.expect(len(list))
	for id, j := range jobs {
		w.others.Go(func() { w.rungs.put(ctx, id, j) })
	}
}

// orderAgain waits for the rungs among what is left that an owner before this one ordered, and
// returns the rest. It puts their jobs once more, under the same ids: the queue takes those that
// the owner before did not come to put, and knows the others.
func (w *writer) orderAgain(ctx context.Context, list []left) (rest []left) {
	jobs := map[string]*live.Job{}
	for _, l := range list {
		m := l.media
		if m.Encode == nil || m.Encode.Job == nil || m.Held {
			rest = append(rest, l)
			continue
		}
		w.hold(-1)
		w.expect(1)
		j := *m.Encode.Job
		x := &rung{broadcast: l.broadcast, seq: l.seq, media: m, of: l.of}
		if w.rungs == nil {
			x.gap(w, errors.New("nothing is transcoded here any more"))
			continue
		}
		// The owner before this one has had a part of the time.
		now := time.Now()
		j.Deadline = now.Add(min(deadlineTargets*j.Target, max(j.Target, j.Deadline.Sub(now))))
		x.deadline = j.Deadline
		w.rungs.expect(x, &j)
		addTo(jobs, &j)
	}
	for id, j := range jobs {
		w.others.Go(func() { w.rungs.put(ctx, id, j) })
	}
	return rest
}

// addTo puts an output's job together with those of the same segment.
func addTo(jobs map[string]*live.Job, j *live.Job) {
	all := jobs[j.ID()]
	if all == nil {
		c := *j
		jobs[j.ID()] = &c
		return
	}
	all.Video = append(all.Video, j.Video...)
	if j.Audio != nil {
		all.Audio = j.Audio
	}
	all.Sounds = append(all.Sounds, j.Sounds...)
}

// expect counts results that are to come.
func (w *writer) expect(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ordered += n
}

// expect notes that a result is to come.
func (r *rungs) expect(x *rung, j *live.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(j.Video) > 0 {
		x.video = &j.Video[0] // a job of one output
	}
	r.pending[j.EndSubject(x.media.Rendition)] = x
	r.begin.Do(func() { close(r.first) })
}

// take gives out what is expected under a subject, once; nil when it is not.
func (r *rungs) take(subject string) *rung {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.pending[subject]
	delete(r.pending, subject)
	return x
}

// put brings a job to the queue, again and again until its deadline.
func (r *rungs) put(ctx context.Context, id string, j *live.Job) {
	data, err := j.Marshal()
	if err != nil {
		r.fail(j, err)
		return
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		if err = r.w.p.Jobs.Put(ctx, id, data); err == nil || ctx.Err() != nil {
			return
		}
		r.w.log.Warn("a transcode job could not be put into the queue, trying again", "segment", j.Name(), "error", err)
		late := !time.Now().Add(wait).Before(j.Deadline)
		if late || errors.Is(err, bus.ErrTooLarge) || errors.Is(err, bus.ErrInvalid) {
			r.fail(j, fmt.Errorf("its job could not be put into the queue: %w", err))
			return
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// fail gives up all that a job was to make.
func (r *rungs) fail(j *live.Job, err error) {
	for _, name := range j.Outputs() {
		if x := r.take(j.EndSubject(name)); x != nil {
			x.gap(r.w, err)
		}
	}
}

// gap says that the rung has nothing in its item.
func (x *rung) gap(w *writer, err error) {
	m := x.media
	m.Gap, m.Encode = true, m.Encode.Without()
	m.Encode.Video = x.video
	m.Encode.Failure = err.Error()
	m.Encode.Failure = m.Encode.Failure[:min(len(m.Encode.Failure), maxFailure)]
	w.notify(notice{seq: x.seq, media: m, err: err, cause: "transcode", of: x.of, ordered: true})
}

// maxFailure bounds what a timeline keeps of why a rung is a gap, in bytes.
const maxFailure = 320

var errDeadline = errors.New("no transcode worker has made it in time")

// late is why what has no end at its deadline is a gap, as far as this process hears of the workers.
func (r *rungs) late() error {
	why := ""
	if f := r.w.p.WhyLate; f != nil {
		why = f()
	}
	if why == "" {
		why = "see klive_transcode_backlog_seconds, and that workers run (klive worker --roles transcode)"
	}
	return fmt.Errorf("%w: %s", errDeadline, why)
}

// expire gives up what is late.
func (r *rungs) expire(ctx context.Context) {
	if !r.began(ctx) {
		return
	}
	for sleep(ctx, deadlineCheck) {
		now := time.Now()
		var late []*rung
		r.mu.Lock()
		for subject, x := range r.pending {
			if now.After(x.deadline) {
				late = append(late, x)
				delete(r.pending, subject)
			}
		}
		r.mu.Unlock()
		if len(late) == 0 {
			continue
		}
		why := r.late()
		for _, x := range late {
			x.gap(r.w, why)
		}
	}
}

// began waits until something is ordered; many entries never do that.
func (r *rungs) began(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-r.first:
		return true
	}
}

// follow reads the ends of the entry's jobs, once there are jobs, from the oldest that is kept: an
// owner before this one may have died between an end and what it would have written of it.
func (r *rungs) follow(ctx context.Context) {
	if !r.began(ctx) {
		return
	}
	for {
		err := r.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		r.w.log.Warn("reading the ends of transcode jobs failed, trying again", "error", err)
		if !sleep(ctx, endsAgain) {
			return
		}
	}
}

func (r *rungs) followOnce(ctx context.Context) error {
	f, err := r.w.p.Ends.Follow(ctx, r.w.p.Entry+".>", 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		rec, err := f.Next(ctx)
		if err != nil {
			return err
		}
		x := r.take(rec.Subject)
		if x == nil {
			continue
		}
		end, err := live.UnmarshalJobEnd(rec.Data)
		switch {
		case err != nil:
			x.gap(r.w, err)
		case end.Failure != "":
			x.gap(r.w, errors.New(end.Failure))
		default:
			r.w.others.Go(func() { r.fetch(ctx, x, end) })
		}
	}
}

// fetch reads a result from the bus.
func (r *rungs) fetch(ctx context.Context, x *rung, end live.JobEnd) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	var a *live.Assembly
	var err error
	for {
		a, err = r.w.gather(ctx, live.RungSubject(r.w.p.Entry, x.media.Rendition, end.Attempt), 1, end.Parts, 0)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) { // whatever the cause
		return
	}
	if err == nil && !a.Complete() {
		err = fmt.Errorf("%w: the last one is missing", live.ErrAssembly)
	}
	if err != nil {
		x.gap(r.w, fmt.Errorf("what a transcode worker made could not be read from the bus: %w", err))
		return
	}
	x.media.Encode = x.media.Encode.Without()
	x.media.Encode.Attempt, x.media.Encode.Parts = end.Attempt, end.Parts
	r.w.notify(notice{seq: x.seq, of: x.of, rung: &rungResult{rung: x, made: a}, ordered: true})
}
