package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// recheck is how often a waiting publish looks at the feed in its way.
const recheck = 250 * time.Millisecond

// opening is a publish that has been allowed.
type opening struct {
	id    live.FeedID
	grant live.Grant
	// revision is that of the feed record that is to be replaced; 0 when there is none.
	revision uint64
	log      *slog.Logger
}

// reserve lets one publish of a stream name go on at a time.
func (g *Gateway) reserve(ctx context.Context, id live.FeedID) (release func(), err error) {
	// One attempt takes no longer; a queue of them would keep connections for nothing.
	patience := time.NewTimer(g.cfg.Takeover + live.FeedBeat)
	defer patience.Stop()
	for {
		g.mu.Lock()
		other := g.opening[id]
		if other == nil {
			mine := make(chan struct{})
			g.opening[id] = mine
			g.mu.Unlock()
			return func() {
				g.mu.Lock()
				delete(g.opening, id)
				g.mu.Unlock()
				close(mine)
			}, nil
		}
		g.mu.Unlock()
		select {
		case <-other:
		case <-patience.C:
			return nil, busy(id)
		case <-ctx.Done():
			return nil, busy(id)
		}
	}
}

func busy(id live.FeedID) *Refusal {
	return &Refusal{Reason: ReasonBusy, Text: fmt.Sprintf("stream %s (%s) is already being published; stop the other encoder or use another index", id.StreamName(), id.Index)}
}

// vacate makes sure that nobody publishes the stream name: it takes over a feed that has
// been silent for the takeover time, waits that long for one that has not, and then refuses
// (row 30). It returns the revision of the record that is to be replaced.
func (g *Gateway) vacate(ctx context.Context, id live.FeedID) (revision uint64, err error) {
	patience := g.cfg.Takeover
	start := time.Now()
	for {
		record, revision, err := g.feedRecord(ctx, id)
		if err != nil {
			return 0, err
		}
		s := g.session(id)
		if s == nil && (record == nil || !record.Alive(time.Now())) {
			return revision, nil
		}
		limit := patience
		var arrival time.Time
		if s != nil {
			r := s.last()
			arrival = lastSign(&r)
		} else {
			arrival, limit = lastSign(record), patience+record.Behind() // another gateway's
		}
		if time.Since(arrival) >= limit {
			if s == nil {
				return revision, nil
			}
			s.end(&Refusal{Reason: ReasonTakenOver, Text: fmt.Sprintf("stream %s sent nothing for %v and is published by another connection now", id.StreamName(), patience)})
			select {
			case <-s.finished:
			case <-ctx.Done():
				return 0, busy(id)
			}
			continue
		}
		if time.Since(start) >= limit {
			return 0, busy(id)
		}
		select {
		case <-time.After(recheck):
		case <-ctx.Done():
			return 0, busy(id)
		}
	}
}

// lastSign is when a feed last sent media, or opened.
func lastSign(r *live.FeedRecord) time.Time {
	if at := r.Clock.LastArrival.Std(); r.Clock.LastArrival != 0 && at.After(r.Opened) {
		return at
	}
	return r.Opened
}

func (g *Gateway) feedRecord(ctx context.Context, id live.FeedID) (*live.FeedRecord, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kv, err := g.cfg.Feeds.Get(ctx, id.String())
	if errors.Is(err, bus.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the record of feed %s: %w", id, err)
	}
	r, err := live.UnmarshalFeedRecord(kv.Value)
	if err != nil {
		return nil, 0, err
	}
	return &r, kv.Revision, nil
}

func (g *Gateway) session(id live.FeedID) *Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[id]
}

// open makes the session of a publish that nothing stands in the way of.
func (g *Gateway) open(ctx context.Context, p *Permit, pub Publish, o opening) (*Session, error) {
	feeds, err := g.feeds(ctx, o.id.Entry)
	if err != nil {
		return nil, fmt.Errorf("reading the entry's feed records: %w", err)
	}
	current, err := g.broadcast(ctx, o.id.Entry)
	if err != nil {
		return nil, fmt.Errorf("reading the entry's broadcast: %w", err)
	}
	epoch, err := g.cfg.Epochs.Next(ctx, o.id.Entry)
	if err != nil {
		return nil, fmt.Errorf("counting feed epochs: %w", err)
	}
	now := time.Now()
	s := g.newSession(live.Feed{FeedID: o.id, Epoch: epoch}, o)
	s.record = live.FeedRecord{
		Feed: s.feed, Gateway: g.cfg.Address, Protocol: p.connect.Protocol, Peer: p.connect.Peer,
		Encoder: Printable(pub.Encoder, 120), Opened: now, Beat: now, Grant: o.grant,
	}
	target, starts, lastEnd := g.joining(feeds, current, now)
	s.target, s.meter.clock, s.link = target, pub.Clock, pub.Link
	grid := g.cfg.SegmentDuration
	if o.grant.SegmentDuration > 0 {
		grid = o.grant.SegmentDuration
	}
	s.cut = newCutter(cutterConfig{
		feed: s.feed, clock: pub.Clock, peers: (&anchorer{s: s, feeds: feeds, lastEnd: lastEnd}).anchor,
		grid: grid, part: g.cfg.PartDuration, target: target, starts: starts, joins: pub.Joins,
		emit: s.emit, onTarget: s.decided,
	})
	if err := s.write(ctx, s.record); err != nil {
		var taken *takenError
		if errors.As(err, &taken) {
			return nil, busy(o.id)
		}
		return nil, fmt.Errorf("writing the feed record: %w", err)
	}
	s.told = s.record
	if err := g.add(s); err != nil {
		s.record.Closed = time.Now() // or it would be on the air for others until it is stale
		s.beat(true)
		return nil, err
	}
	s.log.Info("on the air", "encoder", s.record.Encoder, "starts", starts)
	return s, nil
}

func (g *Gateway) newSession(feed live.Feed, o opening) *Session {
	s := &Session{
		gw: g, feed: feed, revision: o.revision, partner: o.grant.PartnerID,
		log:  o.log.With("feed", feed.String()),
		done: make(chan struct{}), stop: make(chan struct{}),
		touch: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	s.out = newOutbox(s.publishPart, s.partsLost)
	return s
}

// joining finds out what the new feed joins: the target duration of the broadcast that is
// on the air, whether it starts one itself, and the end of what has been adopted.
func (g *Gateway) joining(feeds []live.FeedRecord, current *live.BroadcastRecord, now time.Time) (target time.Duration, starts bool, lastEnd media.Time) {
	starts = true
	if current != nil {
		lastEnd = current.LastEnd
		if !current.Ended {
			target, starts = current.Target, false
		}
	}
	for i := range feeds {
		r := &feeds[i]
		if r.Recent(now, g.cfg.Resume) && r.Target != 0 {
			starts = false
			if target == 0 {
				target = r.Target
			}
		}
	}
	return target, starts, lastEnd
}

// add registers a session and starts it.
func (g *Gateway) add(s *Session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return shuttingDown()
	}
	g.sessions[s.feed.FeedID] = s
	g.metrics.sessions.WithLabelValues(s.record.Protocol).Inc()
	go s.run()
	return nil
}

// remove forgets a session that has ended.
func (g *Gateway) remove(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.feed.FeedID] == s {
		delete(g.sessions, s.feed.FeedID)
	}
	g.metrics.sessions.WithLabelValues(s.record.Protocol).Dec()
}
