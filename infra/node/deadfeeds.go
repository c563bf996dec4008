package node

import (
	"context"
	"errors"
	"fmt"

	"klive/infra/bus"
	"klive/infra/live"
)

// closeDeadFeeds closes the feeds that a process before this one left open when it was
// killed. Their parts went with its memory, and their numbers on the media plane mean
// nothing in this one's, so nobody may go on reading where that process was. The entry's
// broadcast stays open: encoders that come back go on with it. On a shared bus nothing of
// a dead process is in the way: its feeds fall silent, and their parts are still there.
func (n *Node) closeDeadFeeds(ctx context.Context) error {
	kvs, err := n.feeds.List(ctx, "")
	if err != nil {
		return fmt.Errorf("can't read the feeds of the process before this one: %w", err)
	}
	for _, kv := range kvs {
		r, err := live.UnmarshalFeedRecord(kv.Value)
		if err != nil || !r.Closed.IsZero() {
			continue
		}
		r.Closed = r.Beat
		value, err := r.Marshal()
		if err != nil {
			return err
		}
		_, err = n.feeds.Update(ctx, kv.Key, value, kv.Revision)
		if errors.Is(err, bus.ErrConflict) {
			continue // somebody else has written it since
		}
		if err != nil {
			return fmt.Errorf("can't close feed %s of the process before this one: %w", kv.Key, err)
		}
		n.log.Info("closed a feed of the process before this one", "feed", r.Feed, "lastBeat", r.Beat)
	}
	return nil
}
