package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// completeEvery is how often a stream that has fewer copies than asked for is given the others.
	completeEvery = 5 * time.Second
	// peersPatience is how long servers may be missing before a stream begins without them: those
	// that start together hear of each other within two seconds.
	peersPatience = 4 * time.Second
)

// least is the fewest copies that a stream may begin with: as many as must agree later.
func least(replicas int) int { return replicas/2 + 1 }

// withPeers makes a stream in memory with as many copies as asked for. Servers that have not been
// heard since the others started can't be given one: when they have been missing for a while it
// begins with fewer, and gets the others from [Control.Complete]. Buckets and logs wait for all
// their servers: they are made once, and are there when most of those come back.
func (c *Control) withPeers(ctx context.Context, name string, replicas int, create func(ctx context.Context, replicas int) error) (copies int, err error) {
	err = create(ctx, replicas)
	fewer := least(replicas)
	if fewer == replicas || !c.missingLong(noPeers(err)) || create(ctx, fewer) != nil {
		return replicas, err
	}
	c.log.Warn("bus: a stream begins with fewer copies than bus.replicas says, because not enough bus nodes are there; it gets the others when they are",
		"stream", name, "copies", fewer, "bus.replicas", replicas)
	return fewer, nil
}

// missingLong notes whether servers are missing now, and says whether they have been for long.
func (c *Control) missingLong(now bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !now:
		c.short = time.Time{}
	case c.short.IsZero():
		c.short = time.Now()
	}
	return now && time.Since(c.short) >= peersPatience
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
