// Package registrar keeps Kaltura informed that an entry is live: it registers this
// deployment as the entry's media server once a feed has lasted the start delay, keeps the
// registration alive, says when the entry can be played, and takes the registration back
// when the last feed is gone (contract §6.3, §6.5–§6.7, rows 41–54). Primary and backup
// are registered on their own, and neither waits for the other's calls.
package registrar

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/live"
)

// Status is KalturaEntryServerNodeStatus (contract §4), as registerMediaServer takes it.
type Status int

// The statuses that are sent. NoStatus leaves the parameter out, for servers before it.
const (
	NoStatus     Status = 0
	Playable     Status = 1
	Broadcasting Status = 2
)

// Call are the parameters of registerMediaServer and unregisterMediaServer (contract §3.2, §3.3).
type Call struct {
	Partner     int
	Entry       string
	Hostname    string
	Index       live.Index
	Application string
	Status      Status // registerMediaServer only
}

// API is what the registrar needs of Kaltura. Errors wrap ErrBlocked when the entry's
// partner may not broadcast (SERVICE_FORBIDDEN_CONTENT_BLOCKED), and ErrRefused for every
// other answer that is an error; errors without an answer wrap neither.
type API interface {
	// RegisterMediaServer returns what Kaltura says of the entry (row 49).
	RegisterMediaServer(ctx context.Context, c Call) (live.EntryFacts, error)
	UnregisterMediaServer(ctx context.Context, c Call) error
	// SetBroadcastStart sets the entry's currentBroadcastStartTime (contract §3.11).
	SetBroadcastStart(ctx context.Context, partner int, entry string, at time.Time) error
}

// ErrBlocked says that the publishers of the entry must be dropped.
var ErrBlocked = errors.New("registrar: Kaltura has blocked the partner's content")

// ErrRefused says that the API has answered with an error: nothing was registered.
var ErrRefused = errors.New("registrar: Kaltura refuses the call")

// Options are the registrar's timers. Zero values mean the defaults; Jitter's is none.
type Options struct {
	Hostname    string // as Kaltura knows this deployment
	Application string // "kLive"
	// StartDelay is how long a feed must last before the first call.
	StartDelay time.Duration
	// KeepAlive is the time between calls. Each comes up to Jitter earlier, which is at most half
	// of KeepAlive.
	KeepAlive, Jitter time.Duration
	// PlayableSegments is how many stored segments make a broadcast playable.
	PlayableSegments int
	// OmitStatus leaves the status parameter out, for servers that don't know it.
	OmitStatus bool
	// UnregisterGrace is how long the feeds of an index may be gone before it is unregistered.
	UnregisterGrace time.Duration
	// UnregisterGiveUp is how long unregistering is tried: 1 h.
	UnregisterGiveUp time.Duration
	// CallTimeout bounds one call.
	CallTimeout time.Duration
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.StartDelay, 5*time.Second)
	def(&o.KeepAlive, time.Minute)
	def(&o.UnregisterGrace, 5*time.Second)
	def(&o.UnregisterGiveUp, time.Hour)
	def(&o.CallTimeout, 20*time.Second)
	if o.PlayableSegments <= 0 {
		o.PlayableSegments = 4
	}
	if o.Application == "" {
		o.Application = "kLive"
	}
	o.Jitter = min(max(o.Jitter, 0), o.KeepAlive/2)
	return o
}

// Metrics count for all registrars of a process.
type Metrics struct {
	calls *prometheus.CounterVec
}

// NewMetrics registers the counters; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "klive", Subsystem: "registrar", Name: "calls_total",
		Help: "Calls to Kaltura about live entries, by call and result."}, []string{"call", "result"})}
	if reg != nil {
		reg.MustRegister(m.calls)
	}
	return m
}

// Config is what [New] needs.
type Config struct {
	Entry string
	API   API
	// Kick asks the gateways to drop the entry's publishers.
	Kick func(reason string)
	// Facts takes what Kaltura says of the entry with each registration, of both indexes at the
	// same time; may be nil.
	Facts func(live.EntryFacts)
	// Note writes down for the next owner under which indexes the entry may be registered, and
	// with which partner. One call at a time; may be nil.
	Note    func(ctx context.Context, partner int, indexes []int) error
	Metrics *Metrics
	Log     *slog.Logger
	Options
}

// Registrar looks after one entry.
type Registrar struct {
	Config
	log     *slog.Logger
	indexes [2]*index
	stop    chan struct{}
	stopped sync.Once
	over    chan struct{} // closed by Finish
	ended   sync.Once
	back    chan struct{} // closed when a feed comes after that
	came    sync.Once

	noteMu sync.Mutex // guards the field below, and is held while it is written down
	noted  [2]bool    // what the next owner is to know: which indexes may be registered
}

// New returns a registrar that knows of no feed yet.
func New(c Config) *Registrar {
	c.Options = c.Options.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Note == nil {
		c.Note = func(context.Context, int, []int) error { return nil }
	}
	if c.Facts == nil {
		c.Facts = func(live.EntryFacts) {}
	}
	r := &Registrar{Config: c, log: c.Log.With("entry", c.Entry), stop: make(chan struct{}), over: make(chan struct{}), back: make(chan struct{})}
	for i := range r.indexes {
		r.indexes[i] = newIndex(r, live.Index(i))
	}
	return r
}

// Feed brings a feed's newest record. It does not block.
func (r *Registrar) Feed(rec live.FeedRecord) {
	r.indexes[rec.Feed.Index&1].feed(rec)
	select {
	case <-r.over:
		if rec.Alive(time.Now()) {
			r.came.Do(func() { close(r.back) })
		}
	default:
	}
}

// Resume says what owners before this one have stored of the open broadcast: when each of its
// items ends. A feed that is still there goes on with the status it had. It is called before Run,
// or later when the timeline could not be read before.
func (r *Registrar) Resume(ends []time.Time) {
	for _, x := range r.indexes {
		x.resume(ends)
	}
}

// Inherit says under which indexes owners before this one may have registered the entry, and
// with which partner: what has no feed any more is unregistered. It is called before Run.
func (r *Registrar) Inherit(partner int, indexes []int) {
	for _, i := range indexes {
		r.noted[i] = true
		r.indexes[i].inherit(partner)
	}
}

// note writes down for the next owner whether an index may be registered.
func (r *Registrar) note(ctx context.Context, partner int, i live.Index, registered bool) error {
	r.noteMu.Lock()
	defer r.noteMu.Unlock()
	now := r.noted
	now[i] = registered
	var indexes []int
	for i, on := range now {
		if on {
			indexes = append(indexes, i)
		}
	}
	if err := r.Note(ctx, partner, indexes); err != nil {
		return err
	}
	r.noted = now
	return nil
}

// Stored says how many items of the broadcast are stored. It does not block.
func (r *Registrar) Stored(items int) {
	for _, x := range r.indexes {
		x.progress(items)
	}
}

// Finish says that the broadcast is over: Run returns when nothing is registered any more. back
// is closed when a feed comes meanwhile.
func (r *Registrar) Finish() (back <-chan struct{}) {
	r.ended.Do(func() { close(r.over) })
	return r.back
}

// Stop asks Run to unregister what is registered, within the time of one call, and to return.
func (r *Registrar) Stop() { r.stopped.Do(func() { close(r.stop) }) }

// Run works until Finish or Stop, and then until everything is unregistered or given up, or
// until the context ends: from then on no call is made.
func (r *Registrar) Run(ctx context.Context) {
	calls, cancel := context.WithCancel(ctx)
	var watch, wg sync.WaitGroup
	watch.Go(func() {
		select {
		case <-r.stop:
			cancel() // a call that hangs must not take the time to unregister
		case <-calls.Done():
		}
	})
	for _, x := range r.indexes {
		wg.Go(func() { x.run(ctx, calls) })
	}
	wg.Wait()
	cancel()
	watch.Wait()
}
