package node

import (
	"context"
	"errors"
	"fmt"
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
	// act is held while a drain is begun or taken back.
	act sync.Mutex

	// mu guards the fields below.
	mu    sync.Mutex
	since time.Time          // zero while it is not draining
	stop  context.CancelFunc // of the wait for the encoders; nil before that
	final string             // why the drain can't be taken back any more; empty while it can
}

// Why a draining node takes nothing on: it is ending, or was told to drain and goes on otherwise.
var (
	errEnding   = errors.New("shutting down")
	errDraining = errors.New(`draining, nothing new is taken on ("klive drain --cancel" takes it back)`)
)

// finalHandover is why a worker's drain can't be taken back, finalEnd why that of a process that ends can't.
const (
	finalHandover = "this worker hands its entries over to others; start the process again"
	finalEnd      = "this process is ending"
)

// begin marks the node as draining.
func (d *drain) begin(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		d.since = now
	}
}

func (d *drain) begun() (since time.Time, draining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, !d.since.IsZero()
}

// why says why a draining node takes nothing on; nil while it is not draining.
func (d *drain) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.since.IsZero():
		return nil
	case d.final == finalEnd:
		return errEnding
	case d.final != "":
		return errors.New("draining, nothing new is taken on: " + d.final)
	}
	return errDraining
}

// wait is the wait for the encoders, once in a drain; ok is false when the node is not draining or waits already.
// It has no end of its own: they may leave when their time has long been over, as long as nobody ends the process.
func (d *drain) wait() (ctx context.Context, stop context.CancelFunc, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() || d.stop != nil {
		return nil, nil, false
	}
	ctx, d.stop = context.WithCancel(context.Background())
	return ctx, d.stop, true
}

// finish has a drain go on for good, for a reason; false when it was taken back before.
func (d *drain) finish(why string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		return false
	}
	if d.final == "" || why == finalEnd {
		d.final = why
	}
	return true
}

// takeBack ends a drain, if it still can be; was is false when there is none.
func (d *drain) takeBack() (was bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.final != "":
		return true, fmt.Errorf("%w: %s", admin.ErrDrained, d.final)
	case d.since.IsZero():
		return false, nil
	}
	if d.stop != nil {
		d.stop()
	}
	d.since, d.stop = time.Time{}, nil
	return true, nil
}

// Drain has the node take nothing on any more, and lets go of what it has: readiness is false at
// once, encoders that understand it are asked to connect elsewhere, the others may stay for
// gateway.drain; when no encoder is left a worker hands its entries over. The node goes on
// otherwise until Close. It does not wait, and may be called more than once.
func (n *Node) Drain() { n.beginDrain("") }

// beginDrain drains, for good when there is a reason for that.
func (n *Node) beginDrain(final string) {
	n.drain.act.Lock()
	defer n.drain.act.Unlock()
	n.drain.begin(time.Now())
	if final != "" {
		n.drain.finish(final)
	}
	if n.assembled.Load() { // otherwise it holds nothing yet, and Start does the rest
		n.letGo()
	}
}

// Undrain takes a drain back: the node takes streams again, and is ready if nothing else is wrong. Encoders that were
// asked to connect elsewhere may do so. It fails with [admin.ErrDrained] when a worker has begun to hand its entries
// over, or the process is ending.
func (n *Node) Undrain() error {
	n.drain.act.Lock()
	defer n.drain.act.Unlock()
	was, err := n.drain.takeBack()
	if err != nil || !was {
		return err
	}
	if n.assembled.Load() && n.rtmp != nil {
		n.rtmp.Undrain()
	}
	n.log.Info("the drain is taken back: new streams are taken again", "streams", n.Held().Feeds, "owned", n.Held().Owned)
	n.tell()
	return nil
}

// letGo begins to let go of what a draining node has, once. The caller holds drain.act.
func (n *Node) letGo() {
	ctx, stop, ok := n.drain.wait()
	if !ok {
		return
	}
	n.log.Info("draining: nothing new is taken on", "streams", n.Held().Feeds, "owned", n.Held().Owned)
	n.tell()
	if n.rtmp != nil {
		n.rtmp.Drain()
	}
	n.running.Go(func() {
		defer stop()
		// Where there are no others, what is on the air is packaged until the process ends.
		if n.vacated(ctx) && cluster(n.settings) && n.retire != nil && n.drain.finish(finalHandover) {
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
	h := admin.Held{Draining: draining, Alone: !cluster(n.settings)}
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
