package packager

import (
	"context"
	"time"

	"klive/infra/live"
)

// segment is a segment of one publish, complete or being gathered.
type segment struct {
	*live.Assembly
	done time.Time // when the last part came
	lead uint64    // the first part that a transcode job reads
}

// last reports whether nothing follows the segment in its publish: it is the publish's last,
// or what came of one that broke off.
func (s *segment) last() bool { return s.Final() || !s.Complete() }

// feed is what the loop knows of one place to publish: its record, and its parts gathered
// into segments.
type feed struct {
	record live.FeedRecord
	// sources are the publishes that are read, oldest first. Parts of the first one are
	// gathered; the others wait for their turn.
	sources []*source

	epoch    uint64    // of the newest part
	heard    bool      // whether a part ever came
	lastPart time.Time // when the newest one came; the opening of the feed before that
	healthy  time.Time // since when parts have come without a stall
	burst    burst     // the newest parts that came faster than they play
	closed   time.Time // when it was heard that the feed has ended in order
	open     *segment
	ready    []*segment // complete and not used yet, oldest first
}

// firstParts is how long a new feed may send no part although media arrive: its gateway holds
// the first ones until the target duration is known, at most the longest segment.
const firstParts = 13 * time.Second

// burst is a run of parts that came faster than they play, as those of a segment do that an
// encoder brings in one piece.
type burst struct {
	// until is when its media will have been played, but for its last part.
	until time.Time
}

// maxBurst bounds the silence that a burst excuses: the longest segment.
const maxBurst = 13 * time.Second

// add takes a part of the given length that comes now, after the one before it.
func (b *burst) add(length time.Duration, before, now time.Time) {
	if now.Sub(before) >= length*4/5 {
		b.until = now
		return
	}
	if b.until.Before(before) {
		b.until = before
	}
	b.until = b.until.Add(length)
	if latest := now.Add(maxBurst); b.until.After(latest) {
		b.until = latest
	}
}

// flowing reports whether the feed has sent something lately, or its gateway is about to. One
// that brings segments in one piece is silent when the next is overdue.
func (f *feed) flowing(now time.Time, limit time.Duration) bool {
	if now.Sub(f.lastPart) < limit || f.record.Closed.IsZero() && now.Sub(f.burst.until) < limit || f.closing(now, limit) {
		return true
	}
	arrived := f.record.Clock.LastArrival
	return !f.heard && f.record.Alive(now) && now.Sub(f.record.Opened) < firstParts &&
		arrived != 0 && now.Sub(arrived.Std()) < limit+f.record.Behind()
}

// closing reports whether the last part of a feed that has ended in order may still be on its way. It
// is on the bus before the record says so, but comes by another way and can be overtaken.
func (f *feed) closing(now time.Time, limit time.Duration) bool {
	some := f.record.FirstSeq != 0 // a publish without media has no last part
	return some && !f.record.Closed.IsZero() && now.Sub(f.closed) < limit && !f.sources[len(f.sources)-1].done
}

// score is the feed's health as its gateway measures it: 0 to 100. What is not known is good.
func (f *feed) score(now time.Time) int {
	if f.record.Stats.Health == nil || !f.record.Alive(now) {
		return 100
	}
	return *f.record.Stats.Health
}

// publish is the publish of the newest part.
func (f *feed) publish() live.Feed { return live.Feed{FeedID: f.record.Feed.FeedID, Epoch: f.epoch} }

// segments are those of the feed that are not used yet, oldest first, the open one last.
func (f *feed) segments() []*segment {
	if f.open == nil {
		return f.ready
	}
	return append(f.ready[:len(f.ready):len(f.ready)], f.open)
}

// onBus is how long parts may lie on the media plane: what was published within it may
// still be read.
const onBus = time.Minute

// takeRecords folds the feed records that came since the last call and follows publishes
// that are new. Of a place whose earlier publish the timeline ends with, that one is read
// first: an owner before this one may not have come to its end.
func (p *Packager) takeRecords(ctx context.Context, now time.Time) {
	p.mu.Lock()
	news := p.records
	p.records = nil
	p.mu.Unlock()
	for id, r := range news {
		p.partner.Store(int64(r.Grant.PartnerID))
		f := p.feeds[id]
		if f == nil {
			if !r.Recent(now, onBus) {
				continue // nothing of it is on the media plane any more
			}
			f = &feed{record: r, lastPart: now, healthy: now}
			p.feeds[id] = f
			if last := p.end.publishes[id]; last != 0 && last < r.Feed.Epoch {
				p.read(ctx, f, live.Feed{FeedID: id, Epoch: last}, now)
			}
			p.read(ctx, f, r.Feed, now)
			f.epoch = f.sources[0].feed.Epoch
			continue
		}
		if newest := f.sources[len(f.sources)-1].feed.Epoch; r.Feed.Epoch > newest && r.Recent(now, onBus) {
			p.read(ctx, f, r.Feed, now)
		}
		if r.Feed.Epoch >= f.record.Feed.Epoch {
			if !r.Closed.IsZero() && !r.Closed.Equal(f.record.Closed) {
				f.closed = now
			}
			f.record = r
		}
	}
}

// gather adds a part to the feed's open segment.
func (p *Packager) gather(f *feed, part *live.Part, seq uint64, now time.Time) {
	if part.Number == 0 {
		a, err := live.NewAssembly(part, seq)
		if err != nil {
			return
		}
		f.open = &segment{Assembly: a} // one that was open before lacks its end
	} else if f.open == nil || f.open.Add(part, seq) != nil {
		f.drop() // a part is missing: the segment can't be made
		return
	}
	if size := f.open.Size(); size > p.MaxSegmentBytes {
		p.log.Error("a segment is larger than one may be and is left out; lower the bitrate or the keyframe interval", "feed", part.Feed, "bytes", size, "most", p.MaxSegmentBytes)
		p.Metrics.lost.WithLabelValues("too-large").Inc()
		f.drop()
		return
	}
	if part.Last {
		f.complete(now)
	}
}

// complete moves the open segment to the ready ones.
func (f *feed) complete(now time.Time) {
	f.open.done = now
	f.ready = append(f.ready, f.open)
	f.open = nil
}

// drop forgets the open segment.
func (f *feed) drop() { f.open = nil }

// flush completes a segment whose end will never come, with the frames that did.
func (p *Packager) flush(f *feed, now time.Time) {
	s := f.open
	if s == nil {
		return
	}
	if s.Duration() <= 0 {
		f.drop()
		return
	}
	p.log.Warn("the feed broke off within a segment; what came of it is kept", "feed", s.Feed, "duration", s.Duration())
	f.complete(now)
}
