// Package packager makes a live entry's playable form: it follows the parts of the entry's
// feeds on the media plane, gathers them into segments, chooses between primary and backup,
// joins the bitrates of one index into timeline items, muxes them to CMAF without copying
// media, and writes them in the order that makes them safe: record on the log, media in
// the store, record that they are stored, timeline head, playlists.
//
// Three goroutines share the work of an entry: the loop decides (this file, with sources,
// chooser and slots), the writer brings items into the timeline and the store (writer.go),
// and the saver brings the timeline's head and the playlists there (saver.go), so that a
// slow store does not hold up the live edge. What waits between them is bounded. Renditions
// that need encoding are ordered from transcode workers (encode.go, rungs.go); they settle
// later than the rest of their items, and nothing waits for them.
package packager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/timeline"
)

// Timeline is the entry's timeline as its owner writes it; *timeline.Writer implements it.
type Timeline interface {
	// Append adds a record to the log, folds it in and returns the fold.
	Append(ctx context.Context, r timeline.Record) (*timeline.State, error)
	// Save writes the head object. It is conditional: timeline.ErrFenced when another owner
	// has claimed the entry.
	Save(ctx context.Context) error
	// Expire drops the items that end at or before an instant and returns what was dropped.
	Expire(ctx context.Context, before media.Time) ([]timeline.Dropped, error)
	// State is the present fold; it is never changed.
	State() *timeline.State
}

// Bucket is where the entry's broadcast record is kept; *bus.Bucket implements it.
type Bucket interface {
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
}

// Shelf takes finished media in time whatever the store does; *spool.Spool implements it.
// held says that the object is on local disk and not in the store yet: then settled is
// called once, from any goroutine and perhaps before PutMedia returns, with nil when the
// store has it and with an error when it never will. An error that wraps
// storage.ErrPrecondition says that the object exists.
type Shelf interface {
	PutMedia(ctx context.Context, key string, data [][]byte, opt storage.PutOptions, settled func(error)) (held bool, err error)
}

// Floor says what of an entry is still needed; the sweeper asks the same.
type Floor interface {
	// Floor returns the instant up to which nothing of the entry is needed any more. ok is false
	// when nobody needs anything. After an error all stays.
	Floor(ctx context.Context, entry string) (at media.Time, ok bool, err error)
}

// Options are the packager's timers and limits. Zero values mean the defaults.
type Options struct {
	// SlotWait is how long an item waits for the other bitrates once one is complete.
	SlotWait time.Duration
	// FailoverAfter is how long a feed may send nothing before the other index is used.
	FailoverAfter time.Duration
	// ReturnAfter is how long the primary must be healthy before it is used again; with
	// ReturnByHand it is used again when the backup is gone or an operator says so.
	ReturnAfter  time.Duration
	ReturnByHand bool
	// MinHealth is the health score below which a feed that still sends is left for one that is
	// well; 0 is never.
	MinHealth int
	// Resume is how long all feeds may be gone before the broadcast ends.
	Resume time.Duration
	// LiveWindow is the number of items in the live playlist, LiveGrace the time for which
	// media stay in the store after they have left it.
	LiveWindow int
	LiveGrace  time.Duration
	// StoreGiveUp is how long a segment is tried to be stored before it becomes a gap.
	StoreGiveUp time.Duration
	// Upscale lets rungs be larger than the source.
	Upscale bool
	// WhyLate tells of transcode workers that are known to take no jobs, or that there are none; empty
	// when they do. Nil is always so.
	WhyLate func() string
	// KeepUnused leaves the parts of an encoder that is not used on the media plane until they are
	// too old: somebody else reads them.
	KeepUnused bool
	// MaxSegmentBytes bounds one feed's open segment; MaxBacklogBytes what waits for the store.
	MaxSegmentBytes, MaxBacklogBytes int
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.SlotWait, time.Second)
	def(&o.FailoverAfter, 1500*time.Millisecond)
	def(&o.ReturnAfter, 10*time.Second)
	def(&o.Resume, 180*time.Second)
	def(&o.LiveGrace, time.Minute)
	def(&o.StoreGiveUp, 90*time.Second)
	if o.LiveWindow <= 0 {
		o.LiveWindow = 5
	}
	if o.MaxSegmentBytes <= 0 {
		o.MaxSegmentBytes = 128 << 20
	}
	if o.MaxBacklogBytes <= 0 {
		o.MaxBacklogBytes = 128 << 20
	}
	return o
}

// Jobs takes jobs for transcode workers; *bus.Queue implements it.
type Jobs interface {
	Put(ctx context.Context, id string, task []byte) error
}

// Ends is the log in which workers say what became of jobs; *bus.Log implements it.
type Ends interface {
	Follow(ctx context.Context, pattern string, from uint64) (*bus.LogFollower, error)
}

// Config is what [New] needs.
type Config struct {
	Entry string
	// Said are the log lines that are said once, of the entry's packagers before this one too;
	// nil means that there was none. The running packager alone uses it.
	Said     map[string]bool
	Media    bus.Media
	Timeline Timeline
	Store    storage.Store
	// Shelf takes media and initialization sections. When it is nil they go straight to the
	// store, and are tried again for StoreGiveUp.
	Shelf      Shelf
	Broadcasts Bucket
	// Jobs and Ends reach the transcode workers. Without them rungs that need encoding are left
	// out.
	Jobs Jobs
	Ends Ends
	// Chapters reads the items of a closed chapter, for the stored playlists of the DVR window.
	Chapters func(ctx context.Context, broadcast string, c timeline.Chapter) ([]timeline.Item, error)
	// Floor protects media that a recording still needs; nil when nothing does.
	Floor Floor
	// Stored is called after each item that rests in the store, from the writer's goroutine,
	// with the number of stored items of the broadcast; it must not block. May be nil.
	Stored func(items int)
	// Used counts what the entry's partner has used: media made by transcode workers, and bytes
	// stored. It is called from any goroutine and must not block. May be nil.
	Used func(partner int, rung time.Duration, bytes int64)
	// Hearing is how long this process has heard the bus without interruption. While that is
	// less than four seconds, silence says nothing of the feeds. Nil means always.
	Hearing func() time.Duration
	Metrics *Metrics
	Log     *slog.Logger
	Options
}

// Packager packages one entry. Make it with [New], run it once.
type Packager struct {
	Config
	log *slog.Logger

	// mu guards the fields below.
	mu      sync.Mutex
	records map[live.FeedID]live.FeedRecord // what Feed brought since the loop looked last
	stop    bool
	pin     *live.Index // what Pin said last,
	pinNews bool        // and whether the loop has not seen it
	// handOver is set when the entry is to go to another owner.
	handOver bool

	partner atomic.Int64 // the entry's, from its newest grant

	wake   chan struct{} // 1: records or stop have news
	events chan event

	// The rest belongs to the loop.
	feeds        map[live.FeedID]*feed
	released     *releaser
	saver        *saver
	choice       choice
	tracks       map[string]live.Feed // by rendition: where its newest media came from
	plans        map[string]*plan     // by rendition: what is encoded for it
	leads        map[live.Feed]uint64 // the first part of the newest segment that begins by itself
	end          endpoint
	backlog      []*item
	backlogBytes int
	adopted      int // items with media, since New
	deaf         bool
	heard        time.Time // when it was not deaf the last time
	goneSince    time.Time
	followers    sync.WaitGroup
}

// ErrStopped is returned by Run after Stop or HandOver: the broadcast goes on elsewhere or later.
var ErrStopped = errors.New("packager: stopped, the broadcast is left open")

// New returns a packager that goes on where the timeline's state ends.
func New(c Config) *Packager {
	c.Options = c.Options.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Said == nil {
		c.Said = map[string]bool{}
	}
	p := &Packager{
		Config:   c,
		log:      c.Log.With("entry", c.Entry),
		wake:     make(chan struct{}, 1),
		events:   make(chan event),
		feeds:    map[live.FeedID]*feed{},
		released: newReleaser(c.Media),
		tracks:   map[string]live.Feed{},
		plans:    map[string]*plan{},
		leads:    map[live.Feed]uint64{},
	}
	p.saver = newSaver(p)
	p.restore(time.Now())
	return p
}

// Feed brings a feed's newest record. It does not block.
func (p *Packager) Feed(r live.FeedRecord) {
	p.mu.Lock()
	if p.records == nil {
		p.records = map[live.FeedID]live.FeedRecord{}
	}
	p.records[r.Feed.FeedID] = r
	p.mu.Unlock()
	p.nudge()
}

// Pin prefers one of the entry's two encoders by an operator's will; nil leaves the choice to
// the packager again. It does not block.
func (p *Packager) Pin(index *live.Index) {
	p.mu.Lock()
	p.pin, p.pinNews = index, true
	p.mu.Unlock()
	p.nudge()
}

// Problem is why the timeline's head or the playlists are not in the store as they should
// be: the store is away, or a chapter is damaged. Nil when all is well.
func (p *Packager) Problem() error { return p.saver.problem() }

// Stop asks Run to store what is complete and to return, leaving the broadcast open.
func (p *Packager) Stop() {
	p.mu.Lock()
	p.stop = true
	p.mu.Unlock()
	p.nudge()
}

// HandOver asks Run to return ErrStopped as soon as the next item is written whole, at the
// latest two seconds after the target duration. What is being gathered stays on the media
// plane for the next owner.
func (p *Packager) HandOver() {
	p.mu.Lock()
	p.handOver = true
	p.mu.Unlock()
	p.nudge()
}

func (p *Packager) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run packages until the broadcast has ended and all of it is settled (nil), until Stop or
// HandOver (ErrStopped), until the context ends (its cause; nothing is written after that),
// or until the timeline can't be written (timeline.ErrFenced when another owner has it).
func (p *Packager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	w := newWriter(p)
	go w.run(ctx)
	err := p.loop(ctx, w)
	cancel(err)
	p.followers.Wait()
	<-w.done
	return err
}

// tick is how often the loop looks at the clock.
const tick = 100 * time.Millisecond

// untilTick is how long it is to the next tick. The ticks of all entries fall together, and
// with those at which gateways of the same process read, so that one awakening serves all.
func untilTick(now time.Time) time.Duration { return now.Truncate(tick).Add(tick).Sub(now) }

func (p *Packager) loop(ctx context.Context, w *writer) error {
	timer := time.NewTimer(untilTick(time.Now()))
	defer timer.Stop()
	var leave leaving
	var ended time.Time
	for {
		now := time.Now()
		p.takeRecords(ctx, now)
		p.listen(now)
		p.turn(now)
		p.look(&leave, now)
		if ended.IsZero() && !leave.over {
			p.assemble(now, leave.all)
			if p.over(now) {
				ended = now
				p.enqueue(&item{final: true})
			}
		}
		var jobs chan<- *item
		var next *item
		switch {
		case leave.late(now):
			return p.drain(w, &leave, false)
		case len(p.backlog) > 0:
			jobs, next = w.jobs, p.backlog[0]
		case leave.over, !ended.IsZero() && p.settled(w, ended, now):
			return p.drain(w, &leave, !ended.IsZero())
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.done:
			return w.err
		case ev := <-p.events:
			p.take(ev, time.Now())
		case jobs <- next:
			p.backlog, p.backlogBytes = p.backlog[1:], p.backlogBytes-next.size
		case <-p.wake:
		case <-timer.C:
			timer.Reset(untilTick(time.Now()))
		}
	}
}

// settled reports whether nothing is left to wait for once the broadcast has ended: all its
// media and playlists are in the store, or can't get there, or a new broadcast is waiting.
func (p *Packager) settled(w *writer, ended, now time.Time) bool {
	for _, f := range p.feeds {
		if f.record.Alive(now) {
			return true
		}
	}
	return w.clean() || !w.holds() && now.Sub(ended) >= p.StoreGiveUp
}
