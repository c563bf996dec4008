package packager

import (
	"context"
	"errors"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// segment is a run of parts of one feed epoch, complete or being gathered.
type segment struct {
	feed        live.Feed
	info        live.Segment
	parts       []*live.Part
	first, last uint64 // numbers of the first and last part on the media plane
	end         media.Time
	done        time.Time // when the last part came
	size        int       // bytes
}

func (s *segment) duration() time.Duration { return s.end.Sub(s.info.Start) }

// final reports whether the segment is its feed's last.
func (s *segment) final() bool { return s.parts[len(s.parts)-1].Final }

// frames returns the segment's frames of one track, in decode order.
func (s *segment) frames(id media.TrackID) []*media.Frame {
	n := 0
	for _, p := range s.parts {
		n += len(p.Frames)
	}
	out := make([]*media.Frame, 0, n)
	for _, p := range s.parts {
		for i := range p.Frames {
			if p.Frames[i].Track == id {
				out = append(out, &p.Frames[i])
			}
		}
	}
	return out
}

// feed is what the loop knows of one place to publish: its record, and its parts gathered
// into segments.
type feed struct {
	record live.FeedRecord
	ctx    context.Context // of its followers
	cancel context.CancelFunc

	epoch    uint64    // of the newest part
	partSeq  uint64    // the newest part's number in its epoch
	lastPart time.Time // when it came; the opening of the feed before that
	healthy  time.Time // since when parts have come without a stall
	open     *segment
	ready    []*segment // complete and not used yet, oldest first
}

func (f *feed) close() { f.cancel() }

// firstParts is how long a new feed may send no part although media arrive: its gateway holds
// the first ones until the target duration is known, at most the longest segment.
const firstParts = 13 * time.Second

// flowing reports whether the feed has sent something lately, or its gateway is about to.
func (f *feed) flowing(now time.Time, limit time.Duration) bool {
	if now.Sub(f.lastPart) < limit {
		return true
	}
	arrived := f.record.Clock.LastArrival
	return f.partSeq == 0 && f.record.Alive(now) && now.Sub(f.record.Opened) < firstParts &&
		arrived != 0 && now.Sub(arrived.Std()) < limit+live.FeedBeat
}

// event is what a follower tells the loop.
type event struct {
	id   live.FeedID
	seq  uint64
	part *live.Part
	aged *bus.AgedOutError
}

// follow reads the feed's subject from the given number and hands its parts to the loop.
func (p *Packager) follow(ctx context.Context, id live.Feed, from uint64) {
	defer p.followers.Done()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		next, err := p.followOnce(ctx, id, from)
		if ctx.Err() != nil {
			return
		}
		if next != from {
			from, wait = next, 50*time.Millisecond
		}
		p.log.Warn("reading the feed from the bus failed, trying again", "feed", id, "error", err)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// followOnce returns the number to go on from.
func (p *Packager) followOnce(ctx context.Context, id live.Feed, from uint64) (uint64, error) {
	f, err := p.Media.Follow(ctx, id.Subject(), from)
	if err != nil {
		return from, err
	}
	defer f.Close()
	for {
		m, err := f.Next(ctx)
		ev := event{id: id.FeedID}
		if err != nil {
			if !errors.As(err, &ev.aged) {
				return from, err
			}
			from = ev.aged.First
		} else {
			part, ok := any(m.Body).(*live.Part)
			if !ok {
				p.log.Error("a message on the bus is no part; do all nodes run the same release?", "feed", id, "seq", m.Seq)
				continue
			}
			ev.seq, ev.part, from = m.Seq, part, m.Seq+1
		}
		select {
		case p.events <- ev:
		case <-ctx.Done():
			return from, ctx.Err()
		}
	}
}

// take folds one event of a follower into its feed.
func (p *Packager) take(ev event, now time.Time) {
	f := p.feeds[ev.id]
	if f == nil {
		return
	}
	if ev.aged != nil {
		p.log.Warn("parts left the bus before they were read; their segments become gaps", "feed", ev.id, "error", ev.aged)
		p.Metrics.lost.WithLabelValues("aged-out").Add(float64(ev.aged.First - ev.aged.Want))
		f.drop()
		return
	}
	part := ev.part
	if part.Feed.Epoch < f.epoch {
		p.Metrics.lost.WithLabelValues("old-epoch").Inc()
		return
	}
	if part.Feed.Epoch > f.epoch {
		p.flush(f, now) // the publish before was cut off without its last part
		f.epoch, f.partSeq = part.Feed.Epoch, 0
		f.lastPart = time.Time{}
	}
	if !f.flowing(now, p.FailoverAfter) {
		f.healthy = now
	}
	f.lastPart = now
	p.gather(f, part, ev.seq, now)
}

// gather adds a part to the feed's open segment.
func (p *Packager) gather(f *feed, part *live.Part, seq uint64, now time.Time) {
	inOrder := f.partSeq == 0 || part.Seq == f.partSeq+1
	f.partSeq = part.Seq
	if part.Number == 0 {
		if f.open != nil || !inOrder {
			f.drop()
		}
		f.open = &segment{feed: part.Feed, info: part.Segment, first: seq}
	} else if f.open == nil || !inOrder || part.Segment.Number != f.open.info.Number {
		f.drop() // a part is missing: the segment can't be made
		return
	}
	s := f.open
	s.parts, s.last, s.size = append(s.parts, part), seq, s.size+part.Size()
	if s.size > p.MaxSegmentBytes {
		p.log.Error("a segment is larger than one may be and is left out; lower the bitrate or the keyframe interval", "feed", part.Feed, "bytes", s.size, "most", p.MaxSegmentBytes)
		p.Metrics.lost.WithLabelValues("too-large").Inc()
		f.drop()
		return
	}
	if part.Last {
		s.end = part.End
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
	for _, id := range []media.TrackID{media.VideoTrack, media.FirstAudioTrack} {
		for _, fr := range s.frames(id) {
			s.end = max(s.end, fr.End())
		}
		if s.end != 0 {
			break
		}
	}
	if s.end <= s.info.Start {
		f.drop()
		return
	}
	p.log.Warn("the feed broke off within a segment; what came of it is kept", "feed", s.feed, "duration", s.duration())
	f.complete(now)
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
