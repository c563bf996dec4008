package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// anchorTries bounds how often a clock chooses anew because another gateway was faster.
const anchorTries = 4

// anchorer tells a session's clock about the other feeds of its (entry, index). Within the
// process anchors are made one after the other; between gateways the mapping that was made
// last lies in the clocks bucket and is replaced on condition, so that encoders that start
// at once on several gateways share one mapping all the same.
type anchorer struct {
	s *Session
	// feeds are the records as they were when the feed opened, lastEnd the end of what the
	// owner has adopted by then.
	feeds   []live.FeedRecord
	lastEnd media.Time
}

func (a *anchorer) anchor(first bool, decide func([]live.ClockRecord, media.Time) live.ClockRecord) {
	g := a.s.gw
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if !first {
		if feeds, err := g.feeds(ctx, a.s.feed.Entry); err == nil {
			a.feeds = feeds
		}
	}
	g.anchorMu.Lock()
	defer g.anchorMu.Unlock()
	clocks, lastEnd := a.known()
	key := fmt.Sprintf("%s.%d", a.s.feed.Entry, a.s.feed.Index)
	for try := 0; ; try++ {
		shared, revision, err := a.shared(ctx, key)
		all := clocks
		if shared != nil {
			all = append(all[:len(all):len(all)], *shared)
		}
		record := decide(all, lastEnd)
		if err == nil && !joined(record, all) {
			err = a.share(ctx, key, record, revision)
		}
		if errors.Is(err, bus.ErrConflict) && try < anchorTries {
			continue
		}
		if err != nil && g.cfg.Clocks != nil {
			a.s.log.Warn("the clock was anchored without asking other gateways", "err", err)
		}
		a.s.stateMu.Lock()
		a.s.clock = record
		a.s.stateMu.Unlock()
		a.s.refresh()
		return
	}
}

// known lists the mappings of the feeds of the same entry and index, those of this process
// as they are now, and the last end that any of them has announced.
func (a *anchorer) known() ([]live.ClockRecord, media.Time) {
	var clocks []live.ClockRecord
	lastEnd := a.lastEnd
	own := a.s.feed
	add := func(f live.Feed, c live.ClockRecord) {
		if f.Entry == own.Entry && f.Index == own.Index && f != own && c.LastMedia != 0 {
			clocks = append(clocks, c)
			lastEnd = max(lastEnd, c.LastMedia)
		}
	}
	here := map[live.Feed]bool{}
	for _, s := range a.s.gw.sessionList() {
		here[s.feed] = true
		add(s.feed, s.last().Clock)
	}
	for i := range a.feeds {
		if !here[a.feeds[i].Feed] {
			add(a.feeds[i].Feed, a.feeds[i].Clock)
		}
	}
	return clocks, lastEnd
}

func (a *anchorer) shared(ctx context.Context, key string) (*live.ClockRecord, uint64, error) {
	if a.s.gw.cfg.Clocks == nil {
		return nil, 0, bus.ErrNotFound
	}
	kv, err := a.s.gw.cfg.Clocks.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var c live.ClockRecord
	if err := json.Unmarshal(kv.Value, &c); err != nil {
		return nil, kv.Revision, nil // of another release: replaced
	}
	return &c, kv.Revision, nil
}

func (a *anchorer) share(ctx context.Context, key string, c live.ClockRecord, revision uint64) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = a.s.gw.cfg.Clocks.Create(ctx, key, value, 0)
	} else {
		_, err = a.s.gw.cfg.Clocks.Update(ctx, key, value, revision)
	}
	return err
}

// joined reports whether a mapping is one of those that were there.
func joined(c live.ClockRecord, all []live.ClockRecord) bool {
	for i := range all {
		if all[i].Offset == c.Offset {
			return true
		}
	}
	return false
}
