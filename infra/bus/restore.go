package bus

import (
	"context"
	"slices"
)

// opened notes how a bucket's or log's stream is made.
func (c *Control) opened(stream string, create func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[stream] = create
}

// Restore makes the buckets and logs anew that were opened on this connection and that the
// bus has no more, and returns the names of their streams. Servers that lost their disks come
// back without them; whoever watches one gets [ErrAnew] then.
func (c *Control) Restore(ctx context.Context) (made []string, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	there := map[string]bool{}
	list := c.js.StreamNames(ctx)
	for name := range list.Name() {
		there[name] = true
	}
	if err := list.Err(); err != nil {
		return nil, busError("list what the bus has", err)
	}
	c.mu.Lock()
	missing := map[string]func(context.Context) error{}
	for name, create := range c.streams {
		if !there[name] {
			missing[name] = create
		}
	}
	c.mu.Unlock()
	for name, create := range missing {
		if err := create(ctx); err != nil {
			return made, busError("make "+name+" anew", err)
		}
		made = append(made, name)
	}
	slices.Sort(made)
	return made, nil
}
