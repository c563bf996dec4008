package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// streamMaker is how a stream is made, and how it is given the current settings.
type streamMaker struct {
	create, update func(ctx context.Context, replicas int) error
	// fewer lets it begin with fewer copies, see [Control.withPeers].
	fewer bool
}

// settle makes a stream with as many copies as asked for, or gives it the current settings.
// One that has more copies keeps them: a single process with another bus.replicas would
// otherwise take away, for all, what an outage is survived by. One that can't have as many
// because servers are missing has fewer for the time being, see [Control.Complete]. It returns
// the number of copies.
func (c *Control) settle(ctx context.Context, name string, replicas int, m streamMaker) (copies int, err error) {
	err = open(ctx, func(ctx context.Context) error {
		there, err := c.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			// And not update: another process may ask for more copies meanwhile.
			copies = replicas
			if m.fewer {
				copies, err = c.withPeers(ctx, name, replicas, m.create)
				return err
			}
			return m.create(ctx, copies)
		}
		if err != nil {
			return err
		}
		has := there.CachedInfo().Config.Replicas
		copies = max(replicas, has)
		had := c.had(name, has, replicas)
		if err := m.update(ctx, copies); err != nil {
			if copies = has; m.fewer && has < replicas && has >= least(replicas) && noPeers(err) {
				return m.update(ctx, has) // it was made when not all were there, and they still are not
			}
			return err
		}
		c.compareReplicas(name, had, replicas)
		return nil
	})
	if err == nil {
		c.lacking(name, copies < replicas)
	}
	return copies, err
}

// had returns how many copies a stream had before it was first asked for more here: when the
// answer to that does not come in time, the next attempt finds that it has them.
func (c *Control) had(name string, has, want int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.raising[name]; ok && has == want {
		return before
	}
	if has < want {
		c.raising[name] = has
	}
	return has
}

// compareReplicas says what comes of a number of copies that is not the one asked for.
func (c *Control) compareReplicas(name string, has, want int) {
	switch {
	case has < want:
		c.mu.Lock()
		delete(c.raising, name)
		c.mu.Unlock()
		c.log.Info("bus: a stream gets more copies, as bus.replicas says", "stream", name, "from", has, "to", want)
	case has > want:
		c.mu.Lock()
		told := c.toldReplicas
		c.toldReplicas = true
		c.mu.Unlock()
		if !told {
			c.log.Warn("bus: what is on the bus has more copies than bus.replicas says, and keeps them: give bus.replicas the same number everywhere; to have fewer copies, lower them with the nats command (nats stream edit --replicas)",
				"stream", name, "copies", has, "bus.replicas", want)
		}
	}
}
