package node

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/storage/s3"
)

// How a starting node waits for what it can't do without.
const (
	awaitFirst = 250 * time.Millisecond
	awaitMost  = 2 * time.Second
	// awaitLog is how often it says that it still waits.
	awaitLog = 10 * time.Second
	// awaitSlow is how long a first attempt may last before it says so: a bucket behind a
	// firewall answers nothing for as long as its deadline is.
	awaitSlow = 2 * time.Second
)

// await tries until it works. In a cluster nobody knows what starts first, and what is away
// for a while must not keep the others from starting: the listeners answer meanwhile, and
// readiness says what the node waits for.
func (n *Node) await(ctx context.Context, what string, try func(context.Context) error) error {
	var told time.Time
	slow := func() {
		reason := fmt.Sprintf("waiting for %s: no answer yet", what)
		if n.waiting.CompareAndSwap(nil, &reason) {
			told = time.Now()
			n.log.Warn(reason)
		}
	}
	began := time.Now()
	for pause := awaitFirst; ; pause = min(2*pause, awaitMost) {
		err := attempt(ctx, try, slow)
		if err == nil {
			if !told.IsZero() {
				n.log.Info("the wait is over", "for", what, "after", time.Since(began).Round(time.Millisecond))
			}
			n.waiting.Store(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, bus.ErrInvalid) || errors.Is(err, s3.ErrUnconditional) {
			return err // waiting makes neither a setting nor a store right
		}
		reason := fmt.Sprintf("waiting for %s: %v", what, err)
		n.waiting.Store(&reason)
		if time.Since(told) >= awaitLog {
			told = time.Now()
			n.log.Warn(reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// attempt tries once, and calls slow while that lasts long.
func attempt(ctx context.Context, try func(context.Context) error, slow func()) error {
	ended := make(chan error, 1)
	go func() { ended <- try(ctx) }()
	timer := time.NewTimer(awaitSlow)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	}
	slow()
	return <-ended
}

// withoutPasswords makes a list of addresses fit to be shown.
func withoutPasswords(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, a := range list {
		u, err := url.Parse(strings.TrimSpace(a))
		if err != nil {
			list[i] = "(an address that can't be read)"
			continue
		}
		list[i] = u.Redacted()
	}
	return strings.Join(list, ",")
}
