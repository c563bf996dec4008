package packager

import (
	"context"
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// choice is which of an entry's two encoders is used.
type choice struct {
	index live.Index
	// fixed is set with the first item; until then the primary is preferred.
	fixed bool
	// wanted is since when the primary has been healthy enough to return to; zero when not.
	wanted time.Time
}

const (
	// returnPatience is how long a return to the primary waits for a segment that follows the
	// timeline's end closely; then any will do.
	returnPatience = 20 * time.Second
	// rounding is what two feeds' ideas of one instant may differ by.
	rounding = time.Millisecond
	// maxReady bounds the complete segments kept of one feed.
	maxReady = 8
)

// takeRecords folds the feed records that came since the last call and follows feeds that
// are new. It reports whether Stop was called.
func (p *Packager) takeRecords(ctx context.Context, now time.Time) bool {
	p.mu.Lock()
	news, stop := p.records, p.stop
	p.records = nil
	p.mu.Unlock()
	for id, r := range news {
		f := p.feeds[id]
		if f != nil {
			if r.Feed.Epoch > f.record.Feed.Epoch && r.Alive(now) {
				p.followers.Add(1)
				go p.follow(f.ctx, r.Feed, p.resumeAt(r))
			}
			if r.Feed.Epoch >= f.record.Feed.Epoch {
				f.record = r
			}
			continue
		}
		if !r.Alive(now) {
			continue // nothing of it is on the media plane any more
		}
		fctx, cancel := context.WithCancel(ctx)
		p.feeds[id] = &feed{record: r, ctx: fctx, cancel: cancel, epoch: r.Feed.Epoch, lastPart: now, healthy: now}
		p.followers.Add(1)
		go p.follow(fctx, r.Feed, p.resumeAt(r))
	}
	return stop
}

// resumeAt is the media plane's number from which a feed is read: behind the last part that
// the timeline holds of this publish, else the publish's first.
func (p *Packager) resumeAt(r live.FeedRecord) uint64 {
	from := r.FirstSeq
	st := p.Timeline.State()
	if len(st.Broadcasts) == 0 {
		return from
	}
	for _, it := range st.Broadcasts[len(st.Broadcasts)-1].Items {
		for _, m := range it.Media {
			if m.Feed == r.Feed {
				from = max(from, m.LastPart+1)
			}
		}
	}
	return from
}

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

// choose decides which index the next item is made of.
func (p *Packager) choose(now time.Time) {
	ready := func(f *feed) bool { return len(f.ready) > 0 }
	flowing := func(f *feed) bool { return f.flowing(now, p.FailoverAfter) }
	c := &p.choice
	if !c.fixed {
		c.index = live.Primary
	}
	here, there := p.of(c.index), p.of(1-c.index)
	switch {
	case p.yields(here, there, now):
		for _, f := range here {
			for len(f.ready) > 0 {
				p.discard(f, "short")
			}
		}
		p.switchTo(1-c.index, "its feeds have ended")
	case !slices.ContainsFunc(here, ready) && !slices.ContainsFunc(here, flowing) && slices.ContainsFunc(there, flowing):
		p.switchTo(1-c.index, "it sends nothing")
	case c.index == live.Backup && slices.ContainsFunc(there, func(f *feed) bool { return flowing(f) && now.Sub(f.healthy) >= p.ReturnAfter }):
		if c.wanted.IsZero() {
			c.wanted = now
		}
		if p.joins(there, now.Sub(c.wanted) > returnPatience) {
			p.switchTo(live.Primary, "the primary is healthy again")
		}
	default:
		c.wanted = time.Time{}
	}
}

// yields reports whether all that is left of an index is the last segment of feeds that
// have ended, when the other index is making a whole segment in its place.
func (p *Packager) yields(here, there []*feed, now time.Time) bool {
	if !p.choice.fixed || len(here) == 0 {
		return false
	}
	var start media.Time
	for _, f := range here {
		if f.open != nil || len(f.ready) > 1 || len(f.ready) == 1 && !f.ready[0].final() {
			return false
		}
		if len(f.ready) == 1 {
			start = f.ready[0].info.Start
		}
	}
	return start != 0 && slices.ContainsFunc(there, func(f *feed) bool {
		next := p.next(f)
		return next != nil && f.flowing(now, p.FailoverAfter) && next.info.Start.Sub(start).Abs() <= alignment
	})
}

// next returns the feed's first segment, complete or not, that follows the timeline's end.
func (p *Packager) next(f *feed) *segment {
	for _, s := range append(slices.Clip(f.ready), f.open) {
		if s != nil && s.info.Start.Add(rounding) >= p.end.at {
			return s
		}
	}
	return nil
}

// joins reports whether the next segment of the feeds follows the timeline's end.
func (p *Packager) joins(feeds []*feed, patienceOver bool) bool {
	for _, f := range feeds {
		if next := p.next(f); next != nil && (patienceOver || next.info.Start.Sub(p.end.at) <= alignment) {
			return true
		}
	}
	return false
}

func (p *Packager) switchTo(index live.Index, why string) {
	if p.choice.fixed {
		p.log.Warn("switching between primary and backup", "from", p.choice.index, "to", index, "reason", why)
		p.Metrics.switches.Inc()
	}
	p.choice.index, p.choice.wanted = index, time.Time{}
}

// prune drops ready segments that can't become items: those that begin before the end of
// the timeline, and the oldest of an index that is not used.
func (p *Packager) prune(now time.Time) {
	active := p.of(p.choice.index)
	// While a bitrate of the last item goes on, its neighbours need not begin on its very frame.
	goesOn := slices.ContainsFunc(active, func(f *feed) bool { return p.end.feeds[live.Feed{FeedID: f.record.Feed.FeedID, Epoch: f.epoch}] })
	for _, f := range active {
		for len(f.ready) > 0 {
			s := f.ready[0]
			slack := rounding
			if goesOn {
				slack = s.duration() / 2
			}
			if s.info.Start.Add(slack) >= p.end.at {
				break
			}
			p.log.Warn("a segment begins before the end of the timeline and is left out", "feed", s.feed,
				"overlap", p.end.at.Sub(s.info.Start), "duration", s.duration())
			p.discard(f, "overlap")
		}
	}
	for _, f := range p.of(1 - p.choice.index) {
		for len(f.ready) > 0 && (f.ready[0].info.Start.Add(rounding) < p.end.at || len(f.ready) > maxReady) {
			p.discard(f, "unused")
		}
	}
}

// discard drops the feed's oldest ready segment and frees its parts on the media plane.
func (p *Packager) discard(f *feed, reason string) {
	s := f.ready[0]
	f.ready = f.ready[1:]
	p.Metrics.lost.WithLabelValues(reason).Inc()
	p.Media.Release(s.feed.Subject(), s.last)
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
}

// restore goes on from the timeline as it stands.
func (p *Packager) restore(now time.Time) {
	st := p.Timeline.State()
	p.end.feeds = map[live.Feed]bool{}
	p.goneSince = now
	if len(st.Broadcasts) == 0 {
		return
	}
	b := st.Broadcasts[len(st.Broadcasts)-1]
	if b.Ended {
		p.end.at = b.End
		return
	}
	p.end.at, p.end.target = b.Start, b.Target
	for i, it := range b.Items {
		p.end.at = it.Start.Add(it.Duration)
		for _, m := range it.Media {
			if m.Feed.Epoch == 0 {
				continue
			}
			p.tracks[m.Rendition] = m.Feed
			p.choice.index, p.choice.fixed = m.Feed.Index, true
			if i == len(b.Items)-1 {
				p.end.feeds[m.Feed] = true
			}
		}
	}
	if t := p.end.at.Std(); t.Before(now) {
		p.goneSince = t
	}
}
