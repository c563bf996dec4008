// Package transcodetest has a transcode worker that needs no ffmpeg, for tests in virtual time.
// It speaks the same wire forms as the real one and makes each picture of a rendition a copy
// of the source's, so whoever reads a rendition finds the source's frames in it.
package transcodetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// Worker takes jobs one after the other.
type Worker struct {
	Jobs  *bus.Queue
	Ends  *bus.Log
	Media bus.Media
	// Took is how long a job takes; default 1 s.
	Took func(j *live.Job) time.Duration
	// Spoil changes an output's end; nil leaves all as they are.
	Spoil func(j *live.Job, e live.JobEnd) live.JobEnd

	mu   sync.Mutex // guards done
	done []string
}

// Run works until the context ends.
func (w *Worker) Run(ctx context.Context) error {
	for {
		task, err := w.Jobs.Take(ctx)
		if err != nil {
			return err
		}
		if err := w.work(ctx, task); err != nil {
			return err
		}
	}
}

// Done lists the ids of the jobs that were finished.
func (w *Worker) Done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.done...)
}

func (w *Worker) work(ctx context.Context, task *bus.Task) error {
	j, err := live.UnmarshalJob(task.Data)
	if err != nil {
		return err
	}
	took := time.Second
	if w.Took != nil {
		took = w.Took(j)
	}
	for end := time.Now().Add(took); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Second, time.Until(end))):
		}
		_ = task.Extend()
	}
	if time.Now().After(j.Deadline) {
		for _, name := range j.Outputs() {
			if err := w.end(ctx, j, live.JobEnd{Rendition: name, Failure: "too late", Cause: "late"}, rand.Text()); err != nil {
				return err
			}
		}
		return task.Done(ctx)
	}
	a, err := w.read(ctx, j)
	if err != nil {
		return fmt.Errorf("job %s: %w", j.ID(), err)
	}
	for _, name := range j.Outputs() {
		if err := w.output(ctx, j, a, name); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.done = append(w.done, task.ID)
	w.mu.Unlock()
	return task.Done(ctx)
}

func (w *Worker) read(ctx context.Context, j *live.Job) (*live.Assembly, error) {
	f, err := w.Media.Follow(ctx, j.Subject(), j.First) // a copy needs no pictures before
	if err != nil {
		return nil, err
	}
	defer f.Close()
	next := func(ctx context.Context) (uint64, *live.Part, error) {
		for {
			m, err := f.Next(ctx)
			if err != nil {
				return 0, nil, err
			}
			if m.Seq >= j.First {
				return m.Seq, m.Body.(*live.Part), nil
			}
		}
	}
	return live.Gather(ctx, next, j.First, j.Last, j.From)
}

// output publishes one output and its end.
func (w *Worker) output(ctx context.Context, j *live.Job, a *live.Assembly, name string) error {
	kind, id := media.Video, media.VideoTrack
	if slices.ContainsFunc(j.Heard(), func(a live.AudioJob) bool { return a.Rendition == name }) {
		kind, id = media.Audio, media.FirstAudioTrack
	}
	t, ok := a.Track(kind)
	if !ok && kind == media.Audio && !j.Listens() {
		return w.silence(ctx, j, name)
	}
	if !ok {
		return fmt.Errorf("job %s: there is nothing to make %s of", j.ID(), name)
	}
	p := &live.Part{Feed: j.Feed, Seq: 1, Last: true, End: j.End, Segment: live.Segment{Start: j.Start, Number: j.Number,
		Tracks: []media.Track{{ID: id, Params: Params(kind)}}, Independent: true, Target: j.Target}}
	for i, f := range a.Frames(t.ID) {
		c := *f
		c.Track, c.Key = id, kind == media.Audio || i == 0
		p.Frames = append(p.Frames, c)
	}
	attempt := strings.ToLower(rand.Text())
	if _, err := w.Media.Publish(ctx, live.RungSubject(j.Feed.Entry, name, attempt), p.ID(), p); err != nil {
		return err
	}
	end := live.JobEnd{Rendition: name, Attempt: attempt, Parts: 1}
	if w.Spoil != nil {
		end = w.Spoil(j, end)
	}
	return w.end(ctx, j, end, attempt)
}

// silence publishes a segment of sound that has none.
func (w *Worker) silence(ctx context.Context, j *live.Job, name string) error {
	grid := j.Heard()[0]
	first, last, _, _ := grid.Grid(j.Start, j.End)
	p := &live.Part{Feed: j.Feed, Seq: 1, Last: true, End: j.End, Segment: live.Segment{Start: j.Start, Number: j.Number,
		Tracks: []media.Track{{ID: media.FirstAudioTrack, Params: Params(media.Audio)}}, Independent: true, Target: j.Target}}
	for n := first; n <= last; n++ {
		at := grid.At(n)
		p.Frames = append(p.Frames, media.Frame{Track: media.FirstAudioTrack, DTS: at, PTS: at, Duration: grid.At(n + 1).Sub(at), Key: true, Payload: []byte{0x21, 0, 0x03, 0x40, 0x68, 0x1c}})
	}
	attempt := strings.ToLower(rand.Text())
	if _, err := w.Media.Publish(ctx, live.RungSubject(j.Feed.Entry, name, attempt), p.ID(), p); err != nil {
		return err
	}
	return w.end(ctx, j, live.JobEnd{Rendition: name, Attempt: attempt, Parts: 1}, attempt)
}

// end writes an output's end, unless it has one.
func (w *Worker) end(ctx context.Context, j *live.Job, e live.JobEnd, id string) error {
	data, err := e.Marshal()
	if err != nil {
		return err
	}
	_, err = w.Ends.Append(ctx, j.EndSubject(e.Rendition), id, data, 0)
	if errors.Is(err, bus.ErrConflict) {
		return nil // another attempt was first
	}
	return err
}

// Params are those of everything that is made of a kind.
func Params(kind media.Kind) media.Params {
	var p media.Params
	var err error
	if kind == media.Video {
		p, err = media.NewH264([][]byte{unhex("6742000af841a2")}, [][]byte{unhex("68ce3880")})
	} else {
		p, err = media.NewAAC(unhex("1190"))
	}
	if err != nil {
		panic(err)
	}
	return p
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
