package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// Config is what a recorder needs. All but Rungs, Media, Sign, Live, Orders and Log is required.
type Config struct {
	// Entry is recorded by Owner, the name of this process.
	Entry, Owner string
	// Store holds the media and the ledger, Recordings gets the MP4s.
	Store      storage.Store
	Recordings Recordings
	Timelines  Timelines
	API        API
	// Rungs makes gaps of rungs again; nil where nothing is transcoded.
	Rungs *Rungs
	// Media is where the backup's own feeds come from; nil where they are not recorded.
	Media bus.Media
	// Sign returns an address that Kaltura can fetch an MP4 from.
	Sign func(ctx context.Context, key string) (string, error)
	// Guard returns an error when the recorder may have lost its lease.
	Guard func(ctx context.Context) error
	// Live returns the records of the entry's feeds, none when it is not on the air here.
	Live func() []live.FeedRecord
	// Owed, when set, is the grant of a broadcast that was to be recorded and may be over by now:
	// no recorder could begin while it was on the air.
	Owed *live.Grant
	// Orders returns what operators ask for, with a way to say that it is done.
	Orders func() []Order
	Log    *slog.Logger
	// Writing bounds the MP4s that the process writes at once; nil is one at a time here.
	Writing chan struct{}
	Metrics *Metrics
	Options Options
}

// Order is what an operator asks of an entry's recorder.
type Order struct {
	Kind string // OrderSplit, OrderRetry or OrderSkip
	File string // the file's id, for OrderRetry and OrderSkip
	At   time.Time
	Done func()
}

// The kinds of orders.
const (
	OrderSplit = "split"
	OrderRetry = "retry"
	OrderSkip  = "skip"
)

// Recorder records one entry.
type Recorder struct {
	Config
	book    *ledger.Book
	metrics *Metrics
	nudged  chan struct{}
	// noted says why nothing was done last, so that it is said once.
	noted string
	// expired is when files were last looked at whose time is over.
	expired time.Time

	// mu guards the fields below.
	mu     sync.Mutex
	series map[string]bool // that somebody appends
	said   map[string]bool // what sayOnce has told
	// backups are the backup encoder's broadcasts by their id, coming those of which nothing is
	// stored yet.
	backups map[string]*backup
	coming  map[live.FeedID]*backup
	failed  error
	cancel  context.CancelFunc
}

// New claims the entry's ledger. The error wraps [ledger.ErrDamaged] when it can't be used.
func New(ctx context.Context, c Config) (*Recorder, error) {
	c.Options = c.Options.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Live == nil {
		c.Live = func() []live.FeedRecord { return nil }
	}
	if c.Orders == nil {
		c.Orders = func() []Order { return nil }
	}
	if c.Sign == nil {
		c.Sign = func(context.Context, string) (string, error) {
			return "", errors.New("recorder: this store gives no addresses; set recording.address")
		}
	}
	if c.Writing == nil {
		c.Writing = make(chan struct{}, 1)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	c.Log = c.Log.With("entry", c.Entry)
	book, err := ledger.Open(ctx, c.Store, c.Entry, c.Owner)
	if err != nil {
		return nil, err
	}
	return &Recorder{Config: c, book: book, metrics: c.Metrics, nudged: make(chan struct{}, 1), said: map[string]bool{}, series: map[string]bool{},
		backups: map[string]*backup{}, coming: map[live.FeedID]*backup{}}, nil
}

// Run records until there is nothing left to do: no feed, no broadcast that is open, no file
// that could be written or appended. It returns an error when the ledger is another's, or damaged.
func (r *Recorder) Run(ctx context.Context) error {
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	if !r.takeUp(ctx) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.failed
	}
	wg.Go(func() { r.followBackups(ctx) })
	wg.Go(func() { r.writeAll(ctx) })
	wg.Go(func() { r.remakeAll(ctx) })
	if err := r.forgetAll(ctx); err != nil && ctx.Err() == nil {
		r.Log.Warn("what was made again for recordings could not be looked through; the next recorder does", "error", err)
	}
	if err := r.forgetUnwritten(ctx); err != nil && ctx.Err() == nil {
		r.Log.Warn("what is left of recordings that were given up could not be removed; the next recorder does", "error", err)
	}
	for ctx.Err() == nil {
		err := r.turn(ctx)
		if err != nil && r.over(ctx, err) {
			break
		}
		r.note(err)
		if err == nil && r.finished() {
			r.cancel()
			return nil
		}
		r.startAppending(ctx, &wg)
		r.pauseOrNudge(ctx, r.Options.Poll)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// note says once why the recorder does not get on.
func (r *Recorder) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == r.noted:
	case err != nil:
		r.Log.Warn("recording does not get on, trying again", "error", err)
	default:
		r.Log.Info("recording gets on again")
	}
	r.noted = text
}

// fail ends the recorder.
func (r *Recorder) fail(err error) {
	r.mu.Lock()
	r.failed = err
	r.mu.Unlock()
	r.cancel()
}

// finished reports whether nothing is left to do for now.
func (r *Recorder) finished() bool {
	r.mu.Lock()
	busy := len(r.series)+len(r.backups)+len(r.coming) > 0
	r.mu.Unlock()
	return !busy && !r.book.Ledger().Unfinished() && len(r.recorded()) == 0 && len(r.Orders()) == 0 && r.Owed == nil
}

// recorded returns the feeds whose entry is to be recorded.
func (r *Recorder) recorded() []live.FeedRecord {
	return slices.DeleteFunc(r.Live(), func(f live.FeedRecord) bool { return f.Grant.Record == 0 })
}

// turn brings the ledger up to what the timeline and the operators say.
func (r *Recorder) turn(ctx context.Context) error {
	if feeds := r.recorded(); len(feeds) > 0 {
		r.Owed = &feeds[0].Grant // until its broadcast has a session
	}
	if err := r.book.Refresh(ctx); err != nil {
		return err
	}
	if err := r.obey(ctx); err != nil {
		return err
	}
	if err := r.expire(ctx); err != nil {
		return err
	}
	if len(r.recorded()) == 0 && len(r.book.Ledger().Sessions) == 0 && r.Owed == nil {
		return nil
	}
	s, err := r.Timelines.State(ctx, r.Entry)
	switch {
	case errors.Is(err, timeline.ErrNoTimeline): // nothing is on the air yet
		if len(r.recorded()) == 0 {
			r.Owed = nil
		}
		s = timeline.New(r.Entry)
	case err != nil:
		return err
	default:
		if err := r.begin(ctx, s); err != nil {
			return err
		}
	}
	for _, session := range r.book.Ledger().Sessions {
		if err := r.plan(ctx, s, session.Broadcast); err != nil {
			return err
		}
	}
	return nil
}

// begin opens a session for the broadcast that is on the air.
func (r *Recorder) begin(ctx context.Context, s *timeline.State) error {
	b := s.Current()
	if b == nil || r.book.Ledger().Knows(b.ID) {
		r.Owed = nil
		return nil
	}
	var g live.Grant
	switch feeds := r.recorded(); {
	case len(feeds) > 0 && !b.Ended:
		g = feeds[0].Grant
	case len(feeds) == 0 && r.Owed != nil:
		if g = *r.Owed; b.Ended && b.End < media.At(g.At) {
			r.Owed = nil // it was over before; what was granted never came on the air
			return nil
		}
	default:
		return nil
	}
	err := r.book.Change(ctx, func(l *ledger.Ledger) error {
		l.Sessions = append(l.Sessions, ledger.Session{Broadcast: b.ID, Partner: g.PartnerID, Record: g.Record})
		if g.RecordedEntryID != "" {
			l.RecordedEntry = g.RecordedEntryID
		}
		return nil
	})
	if err == nil {
		r.Log.Info("recording", "broadcast", b.ID, "recordStatus", g.Record, "vod", g.RecordedEntryID)
	}
	return err
}

// plan plans the files of a broadcast, and ends its session when all are planned.
func (r *Recorder) plan(ctx context.Context, s *timeline.State, broadcast string) error {
	b := r.lookup(s, broadcast)
	var items []timeline.Item
	// Of a stopped session nothing is cut any more: it waits for the broadcast's end.
	was := r.book.Ledger().Session(broadcast)
	stopped := was != nil && was.Stopped != ""
	if b != nil && !stopped {
		var err error
		if items, err = r.items(ctx, b, needed(r.book.Ledger(), b), 0); err != nil {
			return err
		}
	}
	errSame := errors.New("nothing to change")
	err := r.book.Change(ctx, func(l *ledger.Ledger) error {
		session := l.Session(broadcast)
		if session == nil || stopped && session.Stopped == "" {
			return errSame // somebody else has changed it; the next turn sees
		}
		changed := false
		if b != nil && !stopped {
			p := &planner{led: l, session: session, b: b, items: items, segment: r.Options.Segment, now: time.Now(),
				impatient: b.Ended && time.Since(b.End.Std()) > r.Options.Settle, remakes: r.Rungs != nil && r.Options.Remake > 0, say: r.sayOnce}
			changed = p.run()
			changed = passed(session, items) || changed
		}
		if closed(session, b) {
			r.leave(session, b)
			l.Finish(broadcast)
			changed = true
		}
		if !changed {
			return errSame
		}
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	if err == nil {
		r.nudge()
	}
	return err
}

// leave says how a session ends.
func (r *Recorder) leave(s *ledger.Session, b *timeline.Broadcast) {
	switch {
	case s.Stopped != "":
	case b == nil:
		r.Log.Error("the timeline does not know a broadcast any more that was being recorded; what was not cut yet is lost", "broadcast", s.Broadcast, "tracks", len(s.Tracks))
	default:
		r.Log.Info("the broadcast is over; its last files are cut", "broadcast", s.Broadcast)
	}
}

// passed forgets splits that every track has made.
func passed(s *ledger.Session, items []timeline.Item) bool {
	n := len(s.Splits)
	s.Splits = slices.DeleteFunc(s.Splits, func(at media.Time) bool {
		return !slices.ContainsFunc(s.Tracks, func(t ledger.Track) bool {
			if t.Asset == "" || t.Closed {
				return false
			}
			i := slices.IndexFunc(items, func(it timeline.Item) bool { return it.Seq >= t.NextSeq })
			return i < 0 || items[i].Start < at
		})
	})
	return len(s.Splits) != n
}

// sayOnce tells an operator of something that stays as it is.
func (r *Recorder) sayOnce(text string, args ...any) {
	key := text + fmt.Sprint(args...)
	r.mu.Lock()
	known := r.said[key]
	if !known && len(r.said) >= maxSaid {
		clear(r.said) // rather some of it again than nothing any more
	}
	r.said[key] = true
	r.mu.Unlock()
	if !known {
		r.Log.Warn(text, args...)
	}
}

// maxSaid bounds what is remembered of what was said.
const maxSaid = 1000

// needed is the first item of a broadcast that is still to be cut.
func needed(l *ledger.Ledger, b *timeline.Broadcast) uint64 {
	s := l.Session(b.ID)
	if s == nil || len(s.Tracks) == 0 {
		return 0
	}
	var from uint64
	for i, t := range slices.DeleteFunc(slices.Clone(s.Tracks), func(t ledger.Track) bool { return t.Asset == "" || t.Closed }) {
		if i == 0 || t.NextSeq < from {
			from = t.NextSeq
		}
	}
	return from
}

// items returns a broadcast's items from one on, up to another if that is not 0.
func (r *Recorder) items(ctx context.Context, b *timeline.Broadcast, from, to uint64) ([]timeline.Item, error) {
	from = max(from, b.FirstSeq)
	within := func(seq uint64) bool { return seq >= from && (to == 0 || seq <= to) }
	var out []timeline.Item
	for _, c := range b.Chapters {
		if c.LastSeq < from || to != 0 && c.FirstSeq > to {
			continue
		}
		items, err := r.Timelines.Items(ctx, b.ID, c)
		if err != nil {
			return nil, err
		}
		for i := range items {
			if within(items[i].Seq) {
				out = append(out, items[i])
			}
		}
	}
	for i := range b.Items {
		if within(b.Items[i].Seq) && (len(out) == 0 || b.Items[i].Seq > out[len(out)-1].Seq) {
			out = append(out, b.Items[i])
		}
	}
	return out, nil
}

// startAppending sees to it that somebody appends each series that has a file to append.
func (r *Recorder) startAppending(ctx context.Context, wg *sync.WaitGroup) {
	due := r.book.Ledger().AllDue()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range due {
		series := f.Series()
		if f.Size == 0 || f.State == ledger.Parked || r.series[series] {
			continue
		}
		r.series[series] = true
		wg.Go(func() {
			r.appendAll(ctx, series)
			r.mu.Lock()
			delete(r.series, series)
			r.mu.Unlock()
		})
	}
}

// writeAll writes the files that are planned, one at a time, oldest first.
func (r *Recorder) writeAll(ctx context.Context) {
	idle := func() { r.pauseOrNudge(ctx, r.Options.Poll) }
	r.oneByOne(ctx, func(f *ledger.File) bool { return f.Size == 0 && f.Remake == 0 }, r.writeOne, idle,
		"a recording could not be written, trying again")
}

// oneByOne does something with the planned files that are due for it, one at a time, oldest first,
// until ctx ends or the lease is lost. What fails is tried again, ever more rarely.
func (r *Recorder) oneByOne(ctx context.Context, due func(*ledger.File) bool, do func(context.Context, ledger.File) error, idle func(), failed string) {
	wait := r.Options.Retry
	for ctx.Err() == nil {
		l := r.book.Ledger()
		i := slices.IndexFunc(l.Files, func(f ledger.File) bool { return f.State == ledger.Planned && due(&f) })
		if i < 0 {
			idle()
			continue
		}
		f := l.Files[i]
		err := do(ctx, f)
		switch {
		case err == nil, errors.Is(err, errDecided):
			wait = r.Options.Retry
			r.nudge()
			continue
		case r.over(ctx, err):
			return
		}
		r.Log.Warn(failed, append(describeFile(&f), "in", wait, "error", err)...)
		r.metrics.retries.Inc()
		pause(ctx, wait)
		wait = min(2*wait, r.Options.RetryMost)
	}
}

// writeOne makes a file's MP4. An error may pass.
func (r *Recorder) writeOne(ctx context.Context, f ledger.File) error {
	select {
	case r.Writing <- struct{}{}:
		defer func() { <-r.Writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if g := r.book.Ledger().File(f.ID()); g == nil || g.Settled() {
		return errDecided // while it waited for its turn
	}
	b, items, err := r.broadcastOf(ctx, &f)
	if err != nil {
		return err
	}
	began := time.Now()
	w := &movieWriter{from: r.Store, to: r.Recordings, entry: r.Entry, file: &f, broadcast: b, items: items, log: r.Log}
	var size int64
	var lost int
	err = errEmpty
	if len(items) > 0 {
		size, lost, err = w.write(ctx)
	}
	switch {
	case errors.Is(err, errEmpty):
		r.metrics.lost.Add(float64(f.LastSeq - f.FirstSeq + 1))
		r.Log.Error("a recording is lost: none of its media are in the store", append(describeFile(&f), "error", err)...)
		return r.change(ctx, f, func(f *ledger.File) { f.State, f.Reason = ledger.Skipped, err.Error() })
	case errors.Is(err, mp4.ErrProgressive), errors.Is(err, errInitSize):
		return r.park(ctx, f, "its media don't make one file: "+err.Error()+"; its segments stay until it is skipped")
	case err != nil:
		return err
	}
	lost += f.Lost // what was a gap already when the file was planned
	r.Log.Info("a recording is written", append(describeFile(&f), "bytes", size, "lost", lost, "cut", f.Cut, "took", time.Since(began))...)
	r.metrics.bytes.Add(float64(size))
	r.metrics.lost.Add(float64(lost))
	err = r.change(ctx, f, func(f *ledger.File) { f.State, f.Size, f.Lost = ledger.Uploaded, size, lost })
	decided := errors.Is(err, errDecided) // while it was written
	if err != nil && !decided {
		return err
	}
	if decided {
		if err := r.Recordings.Delete(ctx, f.Key(r.Entry)); err != nil {
			r.Log.Warn("a recording that was given up while it was written could not be removed; the next recorder does", append(describeFile(&f), "error", err)...)
		}
	}
	if f.Remade > 0 {
		if err := r.forget(ctx, remadeFolder(r.Entry, f.ID())); err != nil {
			r.Log.Warn("what was made again for a recording could not be removed; the next recorder does", append(describeFile(&f), "error", err)...)
		}
	}
	return err
}

// broadcastOf returns a file's broadcast and its items, as far as the timeline has them.
func (r *Recorder) broadcastOf(ctx context.Context, f *ledger.File) (*timeline.Broadcast, []timeline.Item, error) {
	s, err := r.Timelines.State(ctx, r.Entry)
	if errors.Is(err, timeline.ErrNoTimeline) {
		s, err = timeline.New(r.Entry), nil
	}
	if err != nil {
		return nil, nil, err
	}
	b := r.lookup(s, f.Broadcast)
	if b == nil {
		return nil, nil, nil
	}
	items, err := r.items(ctx, b, f.FirstSeq, f.LastSeq)
	return b, items, err
}

// nudge wakes whoever waits for a change.
func (r *Recorder) nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// pauseOrNudge waits until something has changed, at most d.
func (r *Recorder) pauseOrNudge(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-r.nudged:
	case <-t.C:
	}
}

// pause waits; false when the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
