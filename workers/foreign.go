package workers

import (
	"context"
	"errors"
	"slices"

	"klive/infra/bus"
	"klive/storage/timeline"
)

// judgeFence tells the operator when the owner that has claimed the entry can be none of this
// deployment: the bus says that the lease was never lost, and no process of that name is heard
// on it. Then two deployments write to one place, and take each entry that is live in both
// from each other for ever.
func (o *owner) judgeFence(ctx context.Context, lease *bus.Lease, err error) {
	var by *timeline.FencedError
	if !errors.As(err, &by) || by.ByWorker == o.p.Name || o.p.Beats == nil {
		return
	}
	heard := slices.ContainsFunc(o.p.Beats.Peers(), func(peer bus.Peer) bool { return peer.Name == by.ByWorker })
	ask, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if heard || lease.Renew(ask) != nil {
		return
	}
	o.log.Error("another deployment writes to the same storage.url and has claimed this entry: give each deployment a bucket, a prefix or a folder of its own, or all their processes the same bus",
		"worker", by.ByWorker, "epoch", by.ByEpoch)
}
