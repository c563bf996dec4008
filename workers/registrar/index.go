package registrar

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"klive/infra/live"
)

// index is the registration of one media server index of the entry.
type index struct {
	r     *Registrar
	index live.Index
	log   *slog.Logger
	wake  chan struct{}

	// mu guards the fields below.
	mu     sync.Mutex
	feeds  map[live.FeedID]live.FeedRecord
	stored int
	before []time.Time // when the items end that owners before this one have stored

	// The rest belongs to run.
	present    bool
	base       int       // stored when the publish began
	registered bool      // a register call may have been taken
	noted      bool      // registered as the next owner would know it
	partner    int       // of the entry, as long as no feed tells
	announced  bool      // a register call was made for the publish that is there
	stands     bool      // the last call was taken
	next       time.Time // when the next register call is due
	said       Status
	tries      int       // of unregister
	inherited  bool      // an owner before this one registered it, and no feed was seen yet
	began      time.Time // when the publish began that is there, or was last
	start      start
	due        time.Time // when unregistering is tried next
	giveUp     time.Time // when it is given up
}

// start says what is to be done about the entry's currentBroadcastStartTime.
type start int

const (
	startTold  start = iota // nothing
	startAsked              // it is told when the next answer says that Kaltura has none
	startDue                // it is told now
)

func newIndex(r *Registrar, i live.Index) *index {
	return &index{r: r, index: i, log: r.log.With("index", i.String()), wake: make(chan struct{}, 1), feeds: map[live.FeedID]live.FeedRecord{}}
}

func (x *index) feed(rec live.FeedRecord) {
	x.mu.Lock()
	if old, ok := x.feeds[rec.Feed.FeedID]; !ok || rec.Feed.Epoch >= old.Feed.Epoch {
		x.feeds[rec.Feed.FeedID] = rec
	}
	x.mu.Unlock()
	x.nudge()
}

func (x *index) progress(items int) {
	x.mu.Lock()
	x.stored = items
	x.mu.Unlock()
	x.nudge()
}

func (x *index) resume(ends []time.Time) {
	x.mu.Lock()
	x.stored, x.before = len(ends), ends
	x.mu.Unlock()
	x.nudge()
}

func (x *index) nudge() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// inherit is called before run. When no feed tells better, the index is unregistered once one
// that is there would have been heard of.
func (x *index) inherit(partner int) {
	x.registered, x.noted, x.inherited, x.partner = true, true, true, partner
	x.leaves(time.Now().Add(live.FeedStale))
}

// view is what the feeds look like at an instant.
type view struct {
	alive   bool
	opened  time.Time     // of the oldest feed that is alive
	gone    time.Time     // when the last one went, when none is alive
	lasted  time.Duration // how long that one had been there
	change  time.Time     // when the view changes by itself, if ever
	partner int
	// unstarted says that the entry had no start when a feed that is alive was admitted.
	unstarted bool
	stored    int
	before    int // how many of the stored items were there when the oldest feed opened
}

func (x *index) look(now time.Time) view {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := view{stored: x.stored, partner: x.partner}
	for _, f := range x.feeds {
		v.partner = f.Grant.PartnerID
		if f.Clock.LastArrival == 0 && !x.registered {
			continue // it is connected, and nobody knows whether it will send anything
		}
		stale := f.Beat.Add(live.FeedStale)
		if f.Alive(now) {
			if !v.alive || f.Opened.Before(v.opened) {
				v.opened = f.Opened
			}
			if !v.alive || stale.After(v.change) {
				v.change = stale
			}
			v.alive = true
			v.unstarted = v.unstarted || f.Grant.Unstarted
			continue
		}
		if !f.Closed.IsZero() {
			stale = f.Closed
		}
		if stale.After(v.gone) {
			v.gone, v.lasted = stale, stale.Sub(f.Opened)
		}
	}
	v.before = v.stored
	for i := len(x.before) - 1; i >= 0 && v.alive && x.before[i].After(v.opened); i-- {
		v.before--
	}
	return v
}

// peers are the encoders of the feeds that are alive.
func (x *index) peers() (list []string) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.feeds {
		if f.Alive(now) {
			list = append(list, f.Peer)
		}
	}
	slices.Sort(list)
	return list
}

// run makes the calls when they are due: the last ones under ctx, all before those under calls.
func (x *index) run(ctx, calls context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	finishing := x.r.over
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.r.stop:
			if ctx.Err() == nil {
				x.leave(ctx)
			}
			return
		case <-finishing:
			finishing = nil
		case <-x.wake:
		case <-timer.C:
		}
		wait := x.step(calls)
		if finishing == nil && !x.registered {
			return
		}
		timer.Reset(max(wait, 0))
	}
}

// idle is how long an index without anything to do sleeps.
const idle = time.Hour

// step makes the call that is due, if any, and returns how long nothing will be.
func (x *index) step(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return idle
	}
	now := time.Now()
	v := x.look(now)
	defer x.remember(ctx, v)
	switch {
	case v.alive != x.present:
		x.turn(v)
	case x.inherited && !v.gone.IsZero():
		x.inherited = false
		x.leaves(v.gone)
	}
	if !x.present {
		return x.absent(ctx, v, now)
	}
	if x.start == startDue {
		x.tellStart(ctx, v)
	}
	status := x.status(v)
	switch {
	case !now.Before(x.next):
		x.next = x.next.Add(x.period())
		if x.next.Before(now) {
			x.next = now.Add(x.period())
		}
		x.register(ctx, v, status)
	case x.announced && x.registered && status != x.said:
		x.register(ctx, v, status)
	}
	return time.Until(earlier(x.next, v.change))
}

// turn follows the beginning or the end of the index's feeds.
func (x *index) turn(v view) {
	x.present = v.alive
	if !v.alive {
		x.tries = 0
		x.leaves(v.gone)
		return
	}
	if x.registered && x.tries == 0 && !x.inherited {
		return // back within the grace
	}
	x.base, x.announced, x.stands, x.said = v.before, false, false, NoStatus
	x.next = v.opened.Add(x.r.StartDelay)
	x.began, x.start = v.opened, startTold
	if x.index == live.Primary {
		x.start = startAsked
		if v.unstarted && !x.inherited {
			x.start = startDue
		}
	}
	x.inherited = false
}

// leaves sets when to unregister an index whose last feed has gone.
func (x *index) leaves(gone time.Time) {
	x.due = gone.Add(x.r.UnregisterGrace)
	x.giveUp = x.due.Add(x.r.UnregisterGiveUp)
}

// absent unregisters when the grace is over. Attempts lie at fixed moments, however long each
// of them takes.
func (x *index) absent(ctx context.Context, v view, now time.Time) time.Duration {
	if !x.registered {
		return idle
	}
	if now.Before(x.due) {
		return x.due.Sub(now)
	}
	x.unregister(ctx, v)
	if !x.registered {
		return idle
	}
	now = time.Now()
	if now.After(x.giveUp) {
		x.log.Error("unregistering is given up; Kaltura forgets the entry by itself when no keep-alive comes")
		x.registered = false
		return idle
	}
	if x.due = x.due.Add(retryAfter(x.tries)); x.due.Before(now) {
		x.due = now
	}
	return x.due.Sub(now)
}

// retryAfter grows from one second to a minute.
func retryAfter(tries int) time.Duration {
	if tries == 0 {
		return 0
	}
	return min(time.Second<<min(tries-1, 10), time.Minute)
}

// status is what a register call would say now.
func (x *index) status(v view) Status {
	switch {
	case x.r.OmitStatus:
		return NoStatus
	case v.stored-x.base >= x.r.PlayableSegments:
		return Playable
	}
	return Broadcasting
}

func (x *index) period() time.Duration {
	d := x.r.KeepAlive
	if x.r.Jitter > 0 {
		d -= rand.N(x.r.Jitter)
	}
	return d
}

func (x *index) call(v view, s Status) Call {
	return Call{Partner: v.partner, Entry: x.r.Entry, Hostname: x.r.Hostname, Index: x.index, Application: x.r.Application, Status: s}
}

// register makes one registerMediaServer call. A failed one is made good by the next.
func (x *index) register(ctx context.Context, v view, s Status) {
	before := x.registered
	x.registered, x.announced = true, true
	x.remember(ctx, v) // first: this process may die before it knows the answer
	var facts live.EntryFacts
	err := x.try(ctx, "register", func(ctx context.Context) (err error) {
		facts, err = x.r.API.RegisterMediaServer(ctx, x.call(v, s))
		return err
	})
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrBlocked) {
		x.registered = before
	}
	first := err == nil && !x.stands
	// A call that failed is not repeated before the next is due, whatever the status.
	x.said, x.stands = s, err == nil
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrBlocked):
		x.log.Error("Kaltura has blocked the content of the partner; dropping the publishers", "partner", v.partner, "peers", x.peers(), "error", err)
		x.r.Kick("Kaltura has blocked this partner's content; ask the account's administrator")
	case err != nil:
		x.log.Error("the entry could not be registered as live; the next keep-alive tries again", "error", err, "peers", x.peers(), "next", time.Until(x.next))
	case first:
		x.log.Info("registered with Kaltura", "status", int(s))
	}
	if err == nil {
		x.learn(ctx, v, facts)
	}
}

// remember writes down for the next owner whether the index may be registered. What can't be
// written is tried again with the next step.
func (x *index) remember(ctx context.Context, v view) {
	if x.registered == x.noted || ctx.Err() != nil {
		return
	}
	if err := x.r.note(ctx, v.partner, x.index, x.registered); err != nil {
		x.log.Debug("the next owner could not be told what is registered", "error", err)
		return
	}
	x.noted = x.registered
}

// learn takes what Kaltura says of the entry with a registration.
func (x *index) learn(ctx context.Context, v view, facts live.EntryFacts) {
	x.r.Facts(facts)
	switch {
	case x.start != startAsked:
	case facts.Started:
		x.start = startTold
	default:
		x.tellStart(ctx, v)
	}
}

// tellStart tells Kaltura when the broadcast began: once, by the primary alone, and only when
// Kaltura has no start for the entry (row 46). A call that failed is made good after the next
// registration, if there is still none.
func (x *index) tellStart(ctx context.Context, v view) {
	err := x.try(ctx, "start", func(ctx context.Context) error {
		return x.r.API.SetBroadcastStart(ctx, v.partner, x.r.Entry, x.began)
	})
	x.start = startTold
	if err == nil {
		return
	}
	if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrBlocked) {
		x.start = startAsked
	}
	if ctx.Err() == nil {
		x.log.Warn("Kaltura was not told when the broadcast began", "error", err, "again", x.start == startAsked)
	}
}

// refusedTries is how often a refused unregister call is made: the refusal may be a passing one.
const refusedTries = 3

// unregister makes one unregisterMediaServer call.
func (x *index) unregister(ctx context.Context, v view) {
	x.tries++
	err := x.try(ctx, "unregister", func(ctx context.Context) error { return x.r.API.UnregisterMediaServer(ctx, x.call(v, NoStatus)) })
	switch {
	case err == nil:
		x.registered, x.stands, x.said = false, false, NoStatus
		x.log.Info("unregistered with Kaltura")
	case ctx.Err() != nil:
	case errors.Is(err, ErrRefused) && x.tries >= refusedTries:
		x.registered, x.stands, x.said = false, false, NoStatus
		x.log.Warn("Kaltura refuses to unregister the entry; nothing is left to do", "error", err)
	default:
		x.log.Warn("the entry could not be unregistered, trying again", "error", err, "try", x.tries)
	}
}

func (x *index) try(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, x.r.CallTimeout)
	defer cancel()
	err := f(ctx)
	result := "ok"
	if err != nil {
		result = "error"
	}
	x.r.Metrics.calls.WithLabelValues(name, result).Inc()
	return err
}

// leave unregisters at once. It tries for as long as one call may take: the entry has no owner
// before it returns, and may be on the air again.
func (x *index) leave(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, x.r.CallTimeout)
	defer cancel()
	v := x.look(time.Now())
	defer x.remember(ctx, v)
	for x.tries = 0; x.registered; {
		if limited.Err() != nil {
			if ctx.Err() == nil {
				x.log.Warn("the entry was left registered; Kaltura forgets it by itself when no keep-alive comes")
			}
			return
		}
		x.unregister(limited, v)
		if !x.registered {
			return
		}
		t := time.NewTimer(retryAfter(x.tries))
		select {
		case <-t.C:
		case <-limited.Done():
		}
		t.Stop()
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
