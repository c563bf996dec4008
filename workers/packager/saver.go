package packager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// saver is the goroutine that brings the timeline's head and the playlists into the store
// after each item, and removes what has left the windows. While the store is away it tries
// again and again; nobody waits for it.
type saver struct {
	p   *Packager
	log *slog.Logger

	lists      map[string]string // by key: the playlists as this saver stored them
	dvrWritten mark              // the state that the stored DVR playlists show
	dvrBytes   int64             // what those weigh
	dvrMedia   int64             // what the broadcast's media weighed at that time
	expired    time.Time         // when expiry ran last

	news chan struct{} // 1: there is something to save

	// mu guards the fields below.
	mu      sync.Mutex
	end     media.Time    // of the newest item
	wanted  int           // how often save was called
	saved   int           // up to which call everything is in the store
	tries   int           // how often saving was tried
	changed chan struct{} // closed at each try's end
	failing error         // of the newest try
	damage  error         // why the DVR playlists are not written; nil when they are
}

const (
	// saveAgain is how long after a failed try the next one comes.
	saveAgain = 500 * time.Millisecond
	// saveTimeout is the longest that one try may last.
	saveTimeout = 15 * time.Second
	// expireEvery bounds how often old items are looked for.
	expireEvery = 10 * time.Second
)

func newSaver(p *Packager) *saver {
	return &saver{p: p, log: p.log, lists: map[string]string{}, news: make(chan struct{}, 1), changed: make(chan struct{})}
}

// save asks for everything up to now to be saved; end is where the timeline ends.
func (s *saver) save(end media.Time) {
	s.mu.Lock()
	s.wanted++
	s.end = max(s.end, end)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// clean reports whether everything is saved.
func (s *saver) clean() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved == s.wanted
}

// problem is why not everything is in the store that should be; nil when it is.
func (s *saver) problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.failing, s.damage)
}

// setDamage remembers an error that trying again does not help against.
func (s *saver) setDamage(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage = nil; unreadable(err) {
		s.damage = err
	}
}

// flush waits until everything is saved, or until a whole try has failed.
func (s *saver) flush(ctx context.Context) error {
	s.mu.Lock()
	wanted, most := s.wanted, s.tries+2 // the next try may be under way already
	for s.saved < wanted && s.tries < most {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// run saves until the context ends (nil) or the owner is fenced.
func (s *saver) run(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.news:
		case <-again:
		}
		again = nil
		err := s.try(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, timeline.ErrFenced):
			return err
		case err != nil:
			again = time.After(saveAgain)
		}
	}
}

// try saves once.
func (s *saver) try(ctx context.Context) error {
	s.mu.Lock()
	wanted, end, failed := s.wanted, s.end, s.failing != nil
	s.mu.Unlock()
	try, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := s.playlists(try)
	if err == nil {
		err = s.expire(try, end)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case err != nil && !failed:
		s.log.Error("the timeline and its playlists could not be stored; trying again", "error", err)
		s.p.Metrics.retries.WithLabelValues("playlists").Inc()
	case err == nil && failed:
		s.log.Info("the timeline and its playlists are stored again")
	}
	s.mu.Lock()
	if s.failing = err; err == nil {
		s.saved = wanted
	}
	s.tries++
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.p.nudge()
	return err
}

// expire drops what has left the windows and deletes its media. Its failures wait for the
// next time; only being fenced is an error.
func (s *saver) expire(ctx context.Context, end media.Time) error {
	b := s.p.Timeline.State().Current()
	if b == nil || b.Ended || end == 0 || time.Since(s.expired) < expireEvery {
		return nil
	}
	s.expired = time.Now()
	// A segment stays for its own length and that of the longest playlist that listed it, after
	// it has left them all (RFC 8216bis §6.2.2).
	target := time.Duration(b.Target) * time.Second
	window := max(time.Duration(s.p.LiveWindow)*target, b.DVRWindow)
	keep := window + max(s.p.LiveGrace, window+target)
	before := end.Add(-keep)
	if old := s.replaced(end); old > before {
		before = old
	}
	if s.p.Floor != nil {
		at, ok, err := s.p.Floor.Floor(ctx, s.p.Entry)
		if err != nil {
			s.log.Warn("what recordings need can't be read; old media stay", "error", err)
			return nil
		}
		if ok {
			before = min(before, at)
		}
	}
	dropped, err := s.p.Timeline.Expire(ctx, before)
	for _, d := range dropped {
		err = errors.Join(err, s.p.Store.Delete(ctx, append(s.orphans(&d), playlist.DroppedKeys(&d)...)...))
	}
	if errors.Is(err, timeline.ErrFenced) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("old media could not be removed; the sweeper will", "error", err)
	}
	return nil
}

// replaced returns where the broadcast before the present one ends, once nobody needs it any
// more: a new broadcast removes the old one's archive (contract row 84), with a grace for those
// who are still watching it. It is 0 before that.
func (s *saver) replaced(end media.Time) media.Time {
	state := s.p.Timeline.State()
	n := len(state.Broadcasts)
	if n < 2 || playlist.OnAir(state) != state.Current() || end.Sub(state.Current().Start) < s.p.LiveGrace {
		return 0
	}
	old := state.Broadcasts[n-2]
	at := old.End
	if k := len(old.Items); k > 0 {
		at = max(at, old.Items[k-1].End())
	}
	return min(at, state.Current().Start)
}

// orphans are the stored playlists of a broadcast that is gone and that the present one does
// not replace by its own.
func (s *saver) orphans(d *timeline.Dropped) (keys []string) {
	b := s.p.Timeline.State().Current()
	for i := range d.Renditions {
		name := d.Renditions[i].Name
		if !d.Whole || b == nil {
			break
		}
		if b.Rendition(name) == nil {
			keys = append(keys, playlist.LiveKey(name), playlist.SingleKey(name, false))
		}
		if b.Rendition(name) == nil || b.DVRWindow <= 0 {
			keys = append(keys, playlist.DVRKey(name), playlist.SingleKey(name, true))
		}
	}
	for _, key := range keys {
		delete(s.lists, key)
	}
	return keys
}
