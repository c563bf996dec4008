package packager

import (
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// choice is which of an entry's two encoders is used.
type choice struct {
	index live.Index
	// fixed is set with the first item; until then the preferred one is used.
	fixed bool
	// wanted is since when the other one has been waited for; zero when it is not.
	wanted time.Time
	// switched is when it was changed the last time.
	switched time.Time
	// pin is an operator's choice, nil when there is none; byHand says that it has changed and
	// nothing was done about it yet.
	pin    *live.Index
	byHand bool
}

const (
	// returnPatience is how long a return to the primary waits for a segment that follows the
	// timeline's end closely; then any will do.
	returnPatience = 20 * time.Second
	// rounding is what two feeds' ideas of one instant may differ by.
	rounding = time.Millisecond
	// maxReady bounds the complete segments kept of one feed.
	maxReady = 8
	// goodHealth is the score from which on a feed may be chosen although another one flows.
	goodHealth = 90
)

// of returns the feeds of an index in the order of their suffixes.
func (p *Packager) of(index live.Index) []*feed {
	var out []*feed
	for id, f := range p.feeds {
		if id.Index == index {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *feed) int { return a.record.Feed.Suffix - b.record.Feed.Suffix })
	return out
}

// preferred is the index that is used when both are well.
func (c *choice) preferred() live.Index {
	if c.pin != nil {
		return *c.pin
	}
	return live.Primary
}

// choose decides which index the next item is made of.
func (p *Packager) choose(now time.Time) {
	ready := func(f *feed) bool { return len(f.ready) > 0 }
	flowing := func(f *feed) bool { return f.flowing(now, p.FailoverAfter) }
	c := &p.choice
	p.takePin()
	if !c.fixed {
		c.index = c.preferred()
	}
	here, there := p.of(c.index), p.of(1-c.index)
	if p.yields(here, there, now) {
		for _, f := range here {
			for len(f.ready) > 0 {
				p.discard(f, "short")
			}
		}
		why := "its feeds have ended"
		if slices.ContainsFunc(here, func(f *feed) bool { return f.record.Closed.IsZero() }) {
			why = quiet(c.index, here) // the encoder is connected, or its gateway is dead
		}
		p.switchTo(1-c.index, now, why)
		return
	}
	if !slices.ContainsFunc(here, ready) && !slices.ContainsFunc(here, flowing) && slices.ContainsFunc(there, flowing) {
		p.leave(here, there, now)
		return
	}
	why := p.better(here, there, now)
	if why == "" {
		c.wanted = time.Time{}
		return
	}
	if c.wanted.IsZero() {
		c.wanted = now
	}
	if p.joins(there, now.Sub(c.wanted) > returnPatience) {
		p.switchTo(1-c.index, now, why)
	}
}

// leave goes to the other index, because this one sends nothing, once what came of it is used.
func (p *Packager) leave(here, there []*feed, now time.Time) {
	if p.choice.fixed {
		for _, f := range here {
			p.flush(f, now) // it ends where its frames do
		}
	}
	if !slices.ContainsFunc(here, func(f *feed) bool { return len(f.ready) > 0 }) {
		p.switchTo(1-p.choice.index, now, quiet(p.choice.index, here))
	} else if p.yields(here, there, now) {
		p.choose(now)
	}
}

// quiet says in words that nothing comes of an index's feeds.
func quiet(index live.Index, feeds []*feed) string {
	if len(feeds) > 0 && !slices.ContainsFunc(feeds, func(f *feed) bool { return f.heard || f.record.Clock.LastArrival != 0 }) {
		return "the " + index.String() + " is connected and has not sent anything yet"
	}
	return "the " + index.String() + " sends nothing"
}

// better says why the other index should be used although this one flows; empty when it should
// not.
func (p *Packager) better(here, there []*feed, now time.Time) string {
	c := &p.choice
	if c.preferred() == c.index {
		c.byHand = false
	}
	well := func(f *feed) bool {
		return f.flowing(now, p.FailoverAfter) && now.Sub(f.healthy) >= p.ReturnAfter && f.score(now) >= goodHealth
	}
	switch {
	case c.byHand && slices.ContainsFunc(there, func(f *feed) bool { return f.flowing(now, p.FailoverAfter) }):
		return "an operator chose it"
	case !slices.ContainsFunc(there, well):
		return ""
	case c.preferred() != c.index && (c.pin != nil || !p.ReturnByHand):
		return "the " + c.preferred().String() + " is healthy again"
	case c.pin == nil && c.fixed && now.Sub(c.switched) >= p.ReturnAfter && p.poor(here, now):
		return "too much of it is missing"
	}
	return ""
}

// poor reports whether all that flows of an index is of bad health, and has been there for long
// enough to tell.
func (p *Packager) poor(feeds []*feed, now time.Time) bool {
	some := false
	for _, f := range feeds {
		if !f.flowing(now, p.FailoverAfter) {
			continue
		}
		if f.score(now) >= p.MinHealth || now.Sub(f.record.Opened) < p.ReturnAfter {
			return false
		}
		some = true
	}
	return some
}

// takePin takes the operator's newest choice.
func (p *Packager) takePin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pinNews {
		return
	}
	p.pinNews = false
	changed := p.choice.pin == nil || p.pin != nil && *p.choice.pin != *p.pin
	p.choice.byHand = p.pin != nil && (changed || p.choice.byHand) // the same again takes nothing back
	p.choice.pin = p.pin
}

// yields reports whether all that is left of an index is the last segment of feeds that
// have ended, when the other index can be entered where that segment begins.
func (p *Packager) yields(here, there []*feed, now time.Time) bool {
	if !p.choice.fixed || len(here) == 0 {
		return false
	}
	var start media.Time
	for _, f := range here {
		if f.open != nil || len(f.ready) > 1 || len(f.ready) == 1 && !f.ready[0].last() {
			return false
		}
		if len(f.ready) == 1 {
			start = f.ready[0].Start()
		}
	}
	return start != 0 && slices.ContainsFunc(there, func(f *feed) bool {
		at, ok := p.entry(f)
		return ok && f.flowing(now, p.FailoverAfter) && at.Sub(start).Abs() <= alignment
	})
}

// entry returns where the feed can be entered behind the timeline's end: at the start of a
// segment, complete or not, or at a random access point within one.
func (p *Packager) entry(f *feed) (media.Time, bool) {
	for _, s := range f.segments() {
		if at, ok := s.Entry(p.end.at.Add(-rounding)); ok {
			return at, true
		}
	}
	return 0, false
}

// undecided reports whether the feed may still turn out to have an entry close behind the
// timeline's end.
func (p *Packager) undecided(f *feed) bool {
	if _, ok := p.entry(f); ok {
		return false
	}
	return f.open == nil || f.open.End() <= p.end.at.Add(alignment)
}

// joins reports whether the feeds can be entered close behind the timeline's end, or
// anywhere behind it when patience is over.
func (p *Packager) joins(feeds []*feed, patienceOver bool) bool {
	for _, f := range feeds {
		if at, ok := p.entry(f); ok && (patienceOver || at.Sub(p.end.at) <= alignment) {
			return true
		}
	}
	return false
}

func (p *Packager) switchTo(index live.Index, now time.Time, why string) {
	if p.choice.fixed {
		p.choice.switched = now
		p.log.Warn("switching between primary and backup", "from", p.choice.index, "to", index, "reason", why)
		p.Metrics.switches.Inc()
	}
	p.choice.index, p.choice.wanted = index, time.Time{}
}

// prune fits the ready segments to the end of the timeline: one that begins before it is
// entered at its first random access point behind it, and left out when it has none. Of the
// index that is not used, what can't be entered any more goes, and what is too much.
func (p *Packager) prune() {
	active := p.of(p.choice.index)
	// While a bitrate of the last item goes on, its neighbours need not begin on its very frame.
	goesOn := slices.ContainsFunc(active, func(f *feed) bool { return p.end.feeds[f.publish()] })
	for _, f := range active {
		for len(f.ready) > 0 {
			s := f.ready[0]
			slack := rounding
			if goesOn {
				slack = s.Duration() / 2
			}
			if s.Start().Add(slack) >= p.end.at {
				break
			}
			overlap := p.end.at.Sub(s.Start())
			if at, ok := s.Entry(p.end.at.Add(-rounding)); ok && at < s.End() {
				p.log.Info("a feed is entered within a segment", "feed", s.Feed, "leftOut", at.Sub(s.Start()), "behindEnd", at.Sub(p.end.at))
				s.From = at
				break
			}
			p.log.Warn("a segment begins before the end of the timeline and is left out", "feed", s.Feed, "overlap", overlap, "duration", s.Duration())
			p.discard(f, "overlap")
		}
	}
	for _, f := range p.of(1 - p.choice.index) {
		for len(f.ready) > 0 {
			if _, ok := f.ready[0].Entry(p.end.at.Add(-rounding)); ok && len(f.ready) <= maxReady {
				break
			}
			p.discard(f, "unused")
		}
	}
}

// discard drops the feed's oldest ready segment and frees its parts on the media plane.
func (p *Packager) discard(f *feed, reason string) {
	s := f.ready[0]
	f.ready = f.ready[1:]
	p.Metrics.lost.WithLabelValues(reason).Inc()
	if reason != "unused" || !p.KeepUnused {
		p.released.drop(s)
	}
}

// flushDead completes what feeds left open that are gone.
func (p *Packager) flushDead(now time.Time) {
	for _, f := range p.feeds {
		if f.open != nil && !f.record.Alive(now) && !f.flowing(now, p.FailoverAfter) {
			p.flush(f, now)
		}
	}
}

// over reports whether all feeds have been gone for the resume time.
func (p *Packager) over(now time.Time) bool {
	if p.deaf {
		return false
	}
	for _, f := range p.feeds {
		if f.record.Alive(now) || f.open != nil || f.flowing(now, p.FailoverAfter) {
			p.goneSince = time.Time{}
			return false
		}
		seen := f.record.Closed
		if seen.IsZero() {
			seen = f.record.Beat
		}
		if seen.After(p.goneSince) {
			p.goneSince = seen
		}
	}
	return now.Sub(p.goneSince) >= p.Resume
}

// endpoint is where the timeline ends.
type endpoint struct {
	at     media.Time
	target int // seconds
	// feeds are those of the last item.
	feeds map[live.Feed]bool
	// publishes are the newest ones that the timeline of an owner before this one names.
	publishes map[live.FeedID]uint64
}

// restore goes on from the timeline as it stands.
func (p *Packager) restore(now time.Time) {
	p.end.feeds, p.end.publishes = map[live.Feed]bool{}, map[live.FeedID]uint64{}
	p.goneSince = now
	b := p.Timeline.State().Current()
	if b == nil {
		return
	}
	if b.Ended {
		p.end.at = b.End
		return
	}
	p.end.at, p.end.target = b.Start, b.Target
	for i := range b.Items {
		it := &b.Items[i]
		p.end.at = it.End()
		for _, m := range it.Media {
			feed, _ := m.MadeOf()
			if feed.Epoch == 0 {
				continue
			}
			p.tracks[m.Rendition] = feed
			p.choice.index, p.choice.fixed = feed.Index, true
			p.end.publishes[feed.FeedID] = max(p.end.publishes[feed.FeedID], feed.Epoch)
			if i == len(b.Items)-1 {
				p.end.feeds[feed] = true
			}
		}
	}
	if t := p.end.at.Std(); t.Before(now) {
		p.goneSince = t
	}
}
