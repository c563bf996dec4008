package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/admin"
)

// drainCheck is how often a draining node looks whether its encoders have gone.
const drainCheck = 20 * time.Millisecond

// drain is the one state from which all follows that happens before a node ends: readiness, what
// encoders and load balancers are told, when workers hand over, and how long all that may take.
type drain struct {
	// mu guards the fields below.
	mu    sync.Mutex
	since time.Time // zero while it is not draining

	goes sync.Once // letGo has run
}

// errDraining is why a draining node takes nothing on.
var errDraining = errors.New("shutting down")

// begin marks the node as draining; false when it was already.
func (d *drain) begin(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.since.IsZero() {
		return false
	}
	d.since = now
	return true
}

func (d *drain) begun() (since time.Time, draining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, !d.since.IsZero()
}

// Drain has the node take nothing on any more, and lets go of what it has: readiness is false at
// once, encoders that understand it are asked to connect elsewhere, the others may stay for
// gateway.drain; when no encoder is left a worker hands its entries over. The node goes on
// otherwise until Close. It does not wait, and may be called more than once.
func (n *Node) Drain() {
	if !n.drain.begin(time.Now()) {
		return
	}
	if n.assembled.Load() { // otherwise it holds nothing yet, and Start does the rest
		n.drain.goes.Do(n.letGo)
	}
}

// letGo begins to let go of what a draining node has.
func (n *Node) letGo() {
	n.log.Info("draining: nothing new is taken on", "streams", n.Held().Feeds, "owned", n.Held().Owned)
	n.tell()
	if n.rtmp != nil {
		n.rtmp.Drain()
	}
	n.running.Go(func() {
		ctx, cancel := context.WithDeadline(context.Background(), n.drainUntil())
		defer cancel()
		// Where there are no others, what is on the air is packaged until the process ends.
		if n.vacated(ctx) && cluster(n.settings) && n.retire != nil {
			n.retire()
		}
	})
}

// drainUntil is when the encoders' time is over.
func (n *Node) drainUntil() time.Time {
	since, _ := n.drain.begun()
	return since.Add(n.settings.Gateway.Drain)
}

// vacated waits until all encoders have gone, and reports whether they have before the context
// ended or the node is being closed.
func (n *Node) vacated(ctx context.Context) bool {
	if n.gateway == nil {
		return true
	}
	check := time.NewTicker(drainCheck)
	defer check.Stop()
	for len(n.gateway.Sessions()) > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-check.C:
		}
		if n.closing.Load() {
			return false
		}
	}
	return true
}

// Held is what this process holds that should not end with it: [admin.Drainer].
func (n *Node) Held() admin.Held {
	since, draining := n.drain.begun()
	h := admin.Held{Draining: draining}
	if draining {
		h.Since, h.Until = since, n.drainUntil()
	}
	if !n.assembled.Load() {
		return h
	}
	if n.gateway != nil {
		h.Feeds = len(n.gateway.Sessions())
	}
	if n.workers != nil {
		share, _ := n.workers.Share()
		h.Owned = share.Owned
	}
	return h
}

// showDrain makes the state a metric.
func (n *Node) showDrain() {
	n.cfg.Registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "klive_node_draining", Help: "1 while this process takes nothing on because it is about to end."},
		func() float64 {
			if _, draining := n.drain.begun(); draining {
				return 1
			}
			return 0
		}))
}

// takesStreams is the gateway's view of readiness.
func (n *Node) takesStreams() error {
	if _, draining := n.drain.begun(); draining {
		return gateway.ErrLeaving
	}
	return n.able()
}
