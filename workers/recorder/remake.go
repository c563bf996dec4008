package recorder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// Rungs is the way to transcode workers. Where there is one, segments that are gaps in a rung
// are made again for recordings, from the stored source.
type Rungs struct {
	Jobs  Jobs
	Ends  Ends
	Media bus.Media
}

// Jobs is the queue of transcode jobs; *bus.Queue implements it.
type Jobs interface {
	Put(ctx context.Context, id string, task []byte) error
	State(ctx context.Context) (bus.QueueState, error)
}

// Ends is the log in which workers say what became of jobs; *bus.Log implements it.
type Ends interface {
	Follow(ctx context.Context, pattern string, from uint64) (*bus.LogFollower, error)
}

const (
	// remakeDeadline is how long a worker may take from when the job is put. The media plane keeps
	// the segment's parts for longer.
	remakeDeadline = 45 * time.Second
	// calmEach is how often the queue is looked at while others wait in it, and how long the first
	// pause is after what is no fault of the segment.
	calmEach = 2 * time.Second
	// remakeTries is how often workers may fail at a segment before it is given up.
	remakeTries = 3
	// remakeRoot is where segments that were made again rest until their file is written.
	remakeRoot = "state/remade/"
)

// errRefused says that a segment can't be made again, however often it is tried.
var errRefused = errors.New("recorder: the segment can't be made again")

func remadeFolder(entry, file string) string { return remakeRoot + entry + "/" + file + "/" }

func remadeKey(entry string, f *ledger.File, seq uint64) string {
	return fmt.Sprintf("%s%d.m4s", remadeFolder(entry, f.ID()), seq)
}

func remadeInit(entry string, f *ledger.File) string {
	return remadeFolder(entry, f.ID()) + "init.mp4"
}

// sourceOf returns what of an item a gap in it could be made again from; nil when there is
// nothing.
func sourceOf(b *timeline.Broadcast, it *timeline.Item, m *timeline.Media) *timeline.Media {
	if m == nil || !m.Gap || m.Encode == nil || m.Encode.Video == nil {
		return nil
	}
	var unknown []*timeline.Media // of which it is no longer said what they are made of
	for i := range it.Media {
		s := &it.Media[i]
		if s.Encode != nil || s.Gap || s.Name != m.Name {
			continue
		}
		if r := b.Rendition(s.Rendition); r == nil || r.Kind != media.Video {
			continue
		}
		switch s.Feed {
		case m.Encode.Feed:
			return s
		case live.Feed{}:
			unknown = append(unknown, s)
		}
	}
	if len(unknown) == 1 {
		return unknown[0]
	}
	return nil
}

// sameFeed reports whether two media of a rendition, as encoders send them, come from one feed:
// their names say so, also when nothing else does any more.
func sameFeed(a, b *timeline.Media) bool {
	_, one, _ := strings.Cut(a.Name, "-")
	_, other, _ := strings.Cut(b.Name, "-")
	return one == other
}

// remakeAll has the gaps of planned files made again, file by file, oldest first. Files without
// gaps are written meanwhile.
func (r *Recorder) remakeAll(ctx context.Context) {
	idle := func() { pause(ctx, r.Options.Poll) } // nudges are for the writer
	r.oneByOne(ctx, func(f *ledger.File) bool { return f.Remake > 0 }, r.remakeFile, idle,
		"gaps of a recording could not be made again, trying again")
}

// remakeFile makes what can be made of a file's gaps, and releases the file to be written. An
// error may pass.
func (r *Recorder) remakeFile(ctx context.Context, f ledger.File) error {
	b, items, err := r.broadcastOf(ctx, &f)
	if err != nil {
		return err
	}
	until := f.Changed.Add(r.Options.Remake)
	made := map[uint64]bool{}
	failed := "what they are made from is gone"
	for i := range items {
		it := &items[i]
		m := it.Of(f.Rendition)
		if sourceOf(b, it, m) == nil {
			continue
		}
		err := r.remakeItem(ctx, &f, b, it, m, until)
		switch {
		case err == nil:
			made[it.Seq] = true
		case errors.Is(err, errRefused):
			failed = err.Error()
		default:
			return err
		}
	}
	lost := max(0, f.Remake-len(made))
	if lost > 0 {
		r.Log.Error("segments of a rung stay away from a recording; its last picture stands meanwhile", append(describeFile(&f), "segments", lost, "reason", failed)...)
	}
	if len(made) > 0 {
		r.Log.Info("segments that were gaps are made again for a recording", append(describeFile(&f), "segments", len(made))...)
		r.metrics.remade.Add(float64(len(made)))
	}
	return r.change(ctx, f, func(f *ledger.File) {
		f.Remake, f.Remade, f.Lost = 0, len(made), f.Lost+lost
		trim(f, items, made)
	})
}

// trim lets a file begin with its first item that has media.
func trim(f *ledger.File, items []timeline.Item, made map[uint64]bool) {
	var gone time.Duration
	for i := range items {
		it := &items[i]
		if m := it.Of(f.Rendition); made[it.Seq] || m != nil && !m.Gap {
			f.FirstSeq, f.Start, f.Duration = it.Seq, it.Start, f.Duration-gone
			return
		}
		gone += it.Duration
	}
}

// remakeItem makes one gap again, unless that was done already. The error wraps errRefused when
// it is given up.
func (r *Recorder) remakeItem(ctx context.Context, f *ledger.File, b *timeline.Broadcast, it *timeline.Item, m *timeline.Media, until time.Time) error {
	if r.Rungs == nil {
		return fmt.Errorf("%w: this worker knows no transcode workers", errRefused)
	}
	body, _, err := r.Store.Get(ctx, remadeKey(r.Entry, f, it.Seq), &storage.Range{Length: 1})
	if err == nil {
		return body.Close()
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	wait := calmEach
	for try := 1; ; {
		if err := r.calm(ctx, until); err != nil {
			return err
		}
		a, err := r.remake(ctx, b, it, m)
		if err == nil {
			return r.keepRemade(ctx, f, b, it, a)
		}
		if errors.Is(err, errRefused) || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("a segment of a rung could not be made again", append(describeFile(f), "segment", m.Name, "rendition", m.Rendition, "error", err)...)
		if errors.Is(err, errFailed) {
			if try++; try > remakeTries {
				return fmt.Errorf("%w: %w", errRefused, err)
			}
			continue
		}
		// The store, the media plane or the queue: they need time.
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, max(calmEach, r.Options.RetryMost))
	}
}

// calm waits until no job waits for a worker: what is on the air comes first.
func (r *Recorder) calm(ctx context.Context, until time.Time) error {
	for {
		if !time.Now().Before(until) {
			return fmt.Errorf("%w: the transcode workers had no time for it in %v (recording.remake)", errRefused, r.Options.Remake)
		}
		if s, err := r.Rungs.Jobs.State(ctx); err == nil && s.Tasks <= s.Taken {
			return nil
		}
		if !pause(ctx, calmEach) {
			return ctx.Err()
		}
	}
}

// errFailed says that a worker could not make the segment.
var errFailed = errors.New("recorder: the transcode worker failed")

// remake brings the segment's source back to the media plane, orders the rung, and returns what
// comes of it.
func (r *Recorder) remake(ctx context.Context, b *timeline.Broadcast, it *timeline.Item, m *timeline.Media) (*live.Assembly, error) {
	now := time.Now()
	ctx, cancel := context.WithDeadline(ctx, now.Add(remakeDeadline+5*time.Second))
	defer cancel()
	j := &live.Job{
		Feed: m.Encode.Feed, Number: 2, Again: strings.ToLower(rand.Text()), Start: m.Start, End: m.Start.Add(m.Duration),
		Target: time.Duration(b.Target) * time.Second, Put: now, Deadline: now.Add(remakeDeadline), Video: []live.VideoJob{*m.Encode.Video},
	}
	feeder := &sourceFeeder{store: r.Store, media: r.Rungs.Media, broadcast: b, job: j}
	defer func() { r.Rungs.Media.Release(j.Subject(), feeder.seq) }()
	if err := r.feed(ctx, feeder, b, it, m); err != nil {
		return nil, err
	}
	data, err := j.Marshal()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	ends, err := r.Rungs.Ends.Follow(ctx, j.EndSubject(m.Rendition), 0)
	if err != nil {
		return nil, err
	}
	defer ends.Close()
	if err := r.Rungs.Jobs.Put(ctx, j.ID(), data); err != nil {
		return nil, err
	}
	rec, err := ends.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("no transcode worker has answered: %w", err)
	}
	end, err := live.UnmarshalJobEnd(rec.Data)
	switch {
	case err != nil:
		return nil, err
	case end.Failure != "":
		return nil, fmt.Errorf("%w: %s", errFailed, end.Failure)
	}
	return r.gather(ctx, live.RungSubject(r.Entry, m.Rendition, end.Attempt), end.Parts)
}

// gather reads from the media plane what a worker made.
func (r *Recorder) gather(ctx context.Context, subject string, parts uint64) (*live.Assembly, error) {
	f, err := r.Rungs.Media.Follow(ctx, subject, 1)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer r.Rungs.Media.Release(subject, parts)
	return live.Gather(ctx, func(ctx context.Context) (uint64, *live.Part, error) {
		msg, err := f.Next(ctx)
		if err != nil {
			return 0, nil, err
		}
		p, ok := any(msg.Body).(*live.Part)
		if !ok {
			return 0, nil, fmt.Errorf("%w: message %d is no part", live.ErrAssembly, msg.Seq)
		}
		return msg.Seq, p, nil
	}, 1, parts, 0)
}

// feed publishes the item's source, and before it what a worker needs of the items before: the
// times of the last pictures, and all from the keyframe on when the item begins without one.
func (r *Recorder) feed(ctx context.Context, feeder *sourceFeeder, b *timeline.Broadcast, it *timeline.Item, m *timeline.Media) error {
	src := sourceOf(b, it, m)
	var before []*timeline.Media // nearest first
	for at := it; !at.Discontinuity && len(before) < maxLeadItems && (at.Dependent || len(before) == 0); {
		list, err := r.items(ctx, b, at.Seq-1, at.Seq-1)
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].End() != at.Start {
			break
		}
		s := list[0].Of(src.Rendition)
		if s == nil || !s.Stored || !sameFeed(s, src) || s.Init != src.Init {
			break
		}
		before = append(before, s)
		at = &list[0]
	}
	feeder.job.Follows = len(before) > 0
	for i := len(before) - 1; i >= 0; i-- {
		if err := feeder.add(ctx, before[i], leadNumber, it.Dependent); err != nil {
			return err
		}
	}
	feeder.job.LeadIn, feeder.job.First = 1, feeder.seq+1
	if err := feeder.add(ctx, src, feeder.job.Number, true); err != nil {
		return err
	}
	feeder.job.Last = feeder.seq
	return nil
}

const (
	// maxLeadItems bounds how far back a keyframe is looked for.
	maxLeadItems = 25
	// leadNumber is the segment number of all that lies before the segment itself.
	leadNumber = 1
)

// keepRemade stores what was made again until the file is written. What does not fit to the
// rung's other segments is refused.
func (r *Recorder) keepRemade(ctx context.Context, f *ledger.File, b *timeline.Broadcast, it *timeline.Item, a *live.Assembly) error {
	t, ok := a.Track(media.Video)
	if !ok {
		return fmt.Errorf("%w: what was made has no pictures", errRefused)
	}
	like, err := r.initOf(ctx, f, b)
	if errors.Is(err, errInitSize) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return err
	}
	if like == nil {
		init, err := mp4.InitOf(a, f.Rendition, media.Video)
		if err == nil {
			_, err = r.Store.Put(ctx, remadeInit(r.Entry, f), [][]byte{init}, storage.PutOptions{ContentType: "video/mp4"})
		}
		if err != nil {
			return err
		}
	} else if !like.Params.Equal(t.Params) {
		return fmt.Errorf("%w: its parameter sets are others than those of the rung's stored segments", errRefused)
	}
	pieces, err := mp4.SegmentOf(a, f.Rendition, media.Video)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	_, err = r.Store.Put(ctx, remadeKey(r.Entry, f, it.Seq), pieces, storage.PutOptions{ContentType: "video/mp4"})
	return err
}

// initOf reads the initialization section that a file's media have so far; nil when there is none.
func (r *Recorder) initOf(ctx context.Context, f *ledger.File, b *timeline.Broadcast) (*mp4.Header, error) {
	items, err := r.items(ctx, b, f.FirstSeq, f.LastSeq)
	if err != nil {
		return nil, err
	}
	w := &movieWriter{from: r.Store, entry: r.Entry, file: f, items: items, log: r.Log}
	h, err := w.header(ctx, f.Rendition)
	if errors.Is(err, errEmpty) {
		return nil, nil
	}
	return h, err
}

// forget removes all below a folder: what was made again for a file, or what rests of a backup's
// broadcast.
func (r *Recorder) forget(ctx context.Context, folder string) error {
	for o, err := range storage.All(ctx, r.Store, folder) {
		if err == nil {
			err = r.Store.Delete(ctx, o.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetAll removes what was made again for files that need it no more: a recorder before this
// one may have died before it did.
func (r *Recorder) forgetAll(ctx context.Context) error {
	root := remakeRoot + r.Entry + "/"
	for o, err := range storage.All(ctx, r.Store, root) {
		id, _, _ := strings.Cut(strings.TrimPrefix(o.Key, root), "/")
		if f := r.book.Ledger().File(id); err == nil && (f == nil || f.Written()) {
			err = r.Store.Delete(ctx, o.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
