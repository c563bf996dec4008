package bus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// completeEvery is how often a stream that has fewer copies than asked for is given the others.
const completeEvery = 5 * time.Second

// least is the fewest copies that a stream may begin with: as many as must agree later.
func least(replicas int) int { return replicas/2 + 1 }

// withPeers makes a stream with as many copies as asked for. Servers that have not been heard
// since the others started can't be given one: with most of them it begins with fewer, and gets
// the others from [Control.Complete].
func (c *Control) withPeers(ctx context.Context, name string, replicas int, create func(ctx context.Context, replicas int) error) (copies int, err error) {
	err = create(ctx, replicas)
	if fewer := least(replicas); fewer < replicas && noPeers(err) && create(ctx, fewer) == nil {
		c.log.Warn("bus: a stream begins with fewer copies than bus.replicas says, because not enough bus nodes are there; it gets the others when they are",
			"stream", name, "copies", fewer, "bus.replicas", replicas)
		return fewer, nil
	}
	return replicas, err
}

func noPeers(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeNoPeers
}

// lacking notes that a stream has fewer copies than it should have, or no longer.
func (c *Control) lacking(stream string, lacks bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lacks {
		c.incomplete[stream] = struct{}{}
	} else {
		delete(c.incomplete, stream)
	}
}

// Complete gives the streams that were opened on this connection the copies that they could not
// have before. It does so every few seconds, however often it is called.
func (c *Control) Complete(ctx context.Context) {
	c.mu.Lock()
	var todo []func(context.Context) error
	if now := time.Now(); len(c.incomplete) > 0 && now.Sub(c.completed) >= completeEvery {
		c.completed = now
		for name := range c.incomplete {
			if s, ok := c.streams[name]; ok {
				todo = append(todo, s.settle)
			}
		}
	}
	c.mu.Unlock()
	for _, settle := range todo {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		_ = settle(ctx) // fails while the servers are still missing
		cancel()
	}
}

// Incomplete names the streams that were opened on this connection and have fewer copies than
// asked for.
func (c *Control) Incomplete() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.incomplete))
}
