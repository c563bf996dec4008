package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// statusBucket is the control-plane bucket of the lease on reporting this deployment's status.
const statusBucket = "status"

const (
	statusKey = "status"
	statusTTL = 15 * time.Second
	// statusRetry is the wait after a report that nobody answered, and between two looks whether
	// another node still reports.
	statusRetry = 30 * time.Second
)

// statusReporter tells Kaltura that this deployment lives, at once and then every so often
// (contract §6.13, rows 107 and 110). However many nodes there are, one of them does: they have
// one name there.
type statusReporter struct {
	name   string // of this process
	every  time.Duration
	report func(context.Context) error
	lease  func(context.Context) (*bus.Lease, error)
	log    *slog.Logger
	failed bool // the last report
}

// startStatus begins to report, unless it is off or klive serves a partner of its own: Kaltura
// lets its media servers' partner report, and nobody else (row 109).
func (n *Node) startStatus(ctx context.Context) error {
	k := n.settings.Kaltura
	if !n.roles.Has(LiveWorker) || k.Status == "off" || !n.client.Impersonates() {
		return nil
	}
	r := &statusReporter{name: n.process, every: k.StatusEvery, log: n.log, report: reportVia(n.client, k.Status, n.log)}
	r.lease = func(ctx context.Context) (*bus.Lease, error) {
		b, err := n.control.Bucket(ctx, bus.BucketConfig{Name: statusBucket})
		if err != nil {
			return nil, err
		}
		return bus.TakeLease(ctx, b, statusKey, r.name, statusTTL)
	}
	n.beside(ctx, "status", r.run)
	return nil
}

// reportVia is the call of the configuration.
func reportVia(c *kaltura.Client, call string, log *slog.Logger) func(context.Context) error {
	if call != "serverNode" {
		return func(ctx context.Context) error {
			_, err := c.ReportStatus(ctx)
			return err
		}
	}
	return func(ctx context.Context) error {
		node, err := c.ReportServerNode(ctx)
		if err == nil && node.Status == kaltura.NodeDisabled {
			log.Warn("Kaltura has this media server as a disabled server node, and lets no stream on the air: enable it there", "hostname", c.Hostname())
		}
		return err
	}
}

// run reports until the context ends, while this process holds the lease.
func (r *statusReporter) run(ctx context.Context) {
	for {
		lease, err := r.lease(ctx)
		var held *bus.HeldError
		switch {
		case err == nil:
			r.hold(ctx, lease)
		case !errors.As(err, &held) && ctx.Err() == nil:
			r.log.Warn("can't ask which node reports the deployment's status; trying again", "error", err)
		}
		if !sleep(ctx, statusRetry) {
			return
		}
	}
}

// hold reports while the lease lasts, and gives it back.
func (r *statusReporter) hold(ctx context.Context, lease *bus.Lease) {
	defer func() {
		release, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		_ = lease.Release(release) // else it runs out by itself
	}()
	for {
		timer := time.NewTimer(r.once(ctx))
		select {
		case <-timer.C:
		case <-lease.Lost():
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// once reports and returns when to do so again.
func (r *statusReporter) once(ctx context.Context) time.Duration {
	err := r.report(ctx)
	if ctx.Err() != nil {
		return r.every
	}
	failed := r.failed
	r.failed = err != nil
	switch {
	case err == nil:
		if failed {
			r.log.Info("the deployment's status is reported to Kaltura again")
		}
		return r.every
	case kaltura.Unavailable(err):
		r.log.Warn("the deployment's status can't be reported to Kaltura; trying again", "error", err)
		return min(r.every, statusRetry)
	case kaltura.IsCode(err, kaltura.CodeNoService, kaltura.CodeNoAction, kaltura.CodeForbidden):
		r.log.Warn("this Kaltura does not take the status report; set kaltura.status to mediaServer (servers until 2015), serverNode (servers since) or off", "error", err)
	default:
		r.log.Warn("Kaltura refuses the deployment's status report", "error", err)
	}
	return r.every
}

// sleep reports whether d has passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
