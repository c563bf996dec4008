package packager

import (
	"context"
	"errors"
	"slices"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// source is one publish that is being read: a subject of the media plane with its follower.
type source struct {
	feed   live.Feed
	cancel context.CancelFunc
	// turn is closed when the publishes of the same place before this one have been read.
	// Until then the follower stops behind its first event, which waits in first.
	turn  chan struct{}
	first *event
	came  time.Time // when first came
	// last is when the newest part came; before that, when following began.
	last time.Time
	// done is set behind the publish's last part.
	done bool
}

// Of a publish whose successor sends already:
const (
	// quietEnd is how long it may send nothing before it counts as cut off,
	quietEnd = 750 * time.Millisecond
	// lateEnd is how long it is read at all.
	lateEnd = 3 * time.Second
)

// event is what a follower tells the loop.
type event struct {
	source *source
	seq    uint64
	part   *live.Part
	aged   *bus.AgedOutError
}

// read begins to follow a publish, behind those of the same place before it.
func (p *Packager) read(ctx context.Context, f *feed, id live.Feed, now time.Time) {
	ctx, cancel := context.WithCancel(ctx)
	s := &source{feed: id, cancel: cancel, turn: make(chan struct{}), last: now}
	if f.sources = append(f.sources, s); len(f.sources) == 1 {
		close(s.turn)
	}
	from := p.resumeAt(id)
	p.followers.Go(func() { p.follow(ctx, s, from) })
}

// follow reads the publish's subject from the given number and hands its parts to the loop.
func (p *Packager) follow(ctx context.Context, s *source, from uint64) {
	defer s.cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		next, final, err := p.followOnce(ctx, s, from)
		if ctx.Err() != nil || final {
			return
		}
		if next != from {
			from, wait = next, 50*time.Millisecond
		}
		p.log.Warn("reading the feed from the bus failed, trying again", "feed", s.feed, "error", err)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// followOnce returns the number to go on from, and whether the publish's last part came.
func (p *Packager) followOnce(ctx context.Context, s *source, from uint64) (next uint64, final bool, err error) {
	f, err := p.Media.Follow(ctx, s.feed.Subject(), from)
	if err != nil {
		return from, false, err
	}
	defer f.Close()
	for {
		ev := event{source: s}
		m, err := f.Next(ctx)
		if err != nil {
			if !errors.As(err, &ev.aged) {
				return from, false, err
			}
			from = ev.aged.First
		} else {
			part, ok := any(m.Body).(*live.Part)
			if !ok || part.Feed != s.feed {
				p.log.Error("a message on the bus is no part of its feed; do all nodes run the same release?", "feed", s.feed, "seq", m.Seq)
				continue
			}
			ev.seq, ev.part, from = m.Seq, part, m.Seq+1
		}
		select {
		case p.events <- ev:
		case <-ctx.Done():
			return from, false, ctx.Err()
		}
		if ev.part != nil && ev.part.Final {
			return from, true, nil
		}
		select {
		case <-s.turn:
		case <-ctx.Done():
			return from, false, ctx.Err()
		}
	}
}

// take folds one event of a follower into its feed.
func (p *Packager) take(ev event, now time.Time) {
	s := ev.source
	f := p.feeds[s.feed.FeedID]
	switch {
	case f == nil || !slices.Contains(f.sources, s):
		p.Metrics.lost.WithLabelValues("old-epoch").Inc()
	case f.sources[0] != s:
		s.first, s.came = &ev, now
	default:
		p.receive(f, &ev, now)
	}
}

// receive takes an event of the publish whose turn it is.
func (p *Packager) receive(f *feed, ev *event, now time.Time) {
	s := ev.source
	s.last = now
	if ev.aged != nil {
		p.log.Warn("parts left the bus before they were read; their segments become gaps", "feed", s.feed, "error", ev.aged)
		p.Metrics.lost.WithLabelValues("aged-out").Add(float64(ev.aged.First - ev.aged.Want))
		f.drop()
		return
	}
	if s.feed.Epoch != f.epoch {
		f.epoch, f.lastPart, f.burst = s.feed.Epoch, time.Time{}, burst{}
	}
	if !f.flowing(now, p.FailoverAfter) {
		f.healthy = now
	}
	if f.heard {
		f.burst.add(playTime(ev.part), f.lastPart, now)
	}
	f.heard = true
	f.lastPart = now
	p.gather(f, ev.part, ev.seq, now)
	s.done = ev.part.Final
}

// playTime is how long a part plays: that of the track that has most of it.
func playTime(part *live.Part) (longest time.Duration) {
	play := map[media.TrackID]time.Duration{}
	for i := range part.Frames {
		id := part.Frames[i].Track
		play[id] += part.Frames[i].Duration
		longest = max(longest, play[id])
	}
	return longest
}

// attentive is how long the bus must have been heard before silence means anything: until
// then each living feed's record has come.
const attentive = 2 * live.FeedBeat

// listen looks whether the silence of feeds means anything. While the process does not hear
// the bus, those that were sending count as sending.
func (p *Packager) listen(now time.Time) {
	p.deaf = p.Hearing != nil && p.Hearing() < attentive
	if !p.deaf {
		p.heard = now
		return
	}
	for _, f := range p.feeds {
		if f.flowing(p.heard, p.FailoverAfter) {
			f.lastPart = now
		}
	}
}

// turn goes from a publish that has been read to its end to the next of the same place: so
// the parts of an older publish never come behind those of a newer one.
func (p *Packager) turn(now time.Time) {
	for _, f := range p.feeds {
		if !p.deaf {
			f.forget(now)
		}
		for len(f.sources) > 1 && f.ended(now, p.deaf) {
			p.flush(f, now)
			f.sources[0].cancel()
			f.sources = f.sources[1:]
			s := f.sources[0]
			close(s.turn)
			if s.first != nil {
				p.receive(f, s.first, now)
				s.first = nil
			}
		}
	}
}

// forget ends the reading of publishes between the one whose turn it is and the newest that have
// sent nothing for as long as anything may lie on the bus: an encoder that only connects, again
// and again, must not leave a follower each time.
func (f *feed) forget(now time.Time) {
	if len(f.sources) < 3 {
		return
	}
	turn, newest := f.sources[0], f.sources[len(f.sources)-1]
	f.sources = slices.DeleteFunc(f.sources, func(s *source) bool {
		silent := s != turn && s != newest && s.first == nil && now.Sub(s.last) >= onBus
		if silent {
			s.cancel()
		}
		return silent
	})
}

// ended reports whether the publish that is being read has sent everything: its last part
// came, or a later publish sends and this one does not, or not in time. Who is deaf can't
// tell the latter.
func (f *feed) ended(now time.Time, deaf bool) bool {
	s := f.sources[0]
	if s.done || deaf {
		return s.done
	}
	for _, next := range f.sources[1:] {
		if next.first == nil {
			continue
		}
		if waited := now.Sub(next.came); waited >= quietEnd && now.Sub(s.last) >= quietEnd || waited >= lateEnd {
			return true
		}
	}
	return false
}

// resumeAt is the media plane's number from which a publish is read: behind the last part
// that the timeline holds of it, else its first.
func (p *Packager) resumeAt(id live.Feed) uint64 {
	from := uint64(1)
	if b := p.Timeline.State().Current(); b != nil {
		for i := range b.Items {
			for _, m := range b.Items[i].Media {
				if feed, last := m.MadeOf(); feed == id {
					from = max(from, last+1)
				}
			}
		}
	}
	return from
}

// sleep waits and reports whether the context still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
