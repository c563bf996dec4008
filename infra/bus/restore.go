package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// opened is a stream that was opened on a connection.
type opened struct {
	// subject is one that the stream keeps.
	subject string
	// settle makes it, or gives it the current settings.
	settle func(context.Context) error
	// again makes it anew when it is missing and tells of that itself; nil: settle does.
	again func(context.Context) error
}

// opened notes how a stream is made.
func (c *Control) opened(stream string, o opened) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[stream] = o
}

// forgotten undoes opened.
func (c *Control) forgotten(stream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, stream)
	delete(c.incomplete, stream)
	delete(c.raising, stream)
}

// Restore makes the streams anew that were opened on this connection and that the bus has no
// more, and returns the names of those of buckets and logs. Servers that lost their disks come
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
		return nil, c.leaderError("list what the bus has", err)
	}
	c.mu.Lock()
	missing := map[string]opened{}
	for name, o := range c.streams {
		if !there[name] {
			missing[name] = o
		}
	}
	c.mu.Unlock()
	var failures []error // one that can't be made must not keep the others away
	for name, o := range missing {
		if o.again != nil {
			failures = append(failures, o.again(ctx))
			continue
		}
		if err := o.settle(ctx); err != nil {
			failures = append(failures, c.leaderError("make "+name+" anew", err))
			continue
		}
		made = append(made, name)
	}
	slices.Sort(made)
	return made, errors.Join(failures...)
}

// Led says whether every stream that was opened on this connection has a leader, without which
// nothing is written to it. It asks all of them at once, for at most a second.
func (c *Control) Led(ctx context.Context) error {
	c.mu.Lock()
	subjects := make(map[string]string, len(c.streams))
	for name, o := range c.streams {
		subjects[name] = o.subject
	}
	c.mu.Unlock()
	var asking sync.WaitGroup
	var mu sync.Mutex
	var without []string
	var last error
	for name, subject := range subjects {
		asking.Go(func() {
			if err := c.askLeader(ctx, subject); err != nil {
				mu.Lock()
				defer mu.Unlock()
				without, last = append(without, name), err
			}
		})
	}
	asking.Wait()
	if len(without) == 0 {
		return nil
	}
	slices.Sort(without)
	return fmt.Errorf("%w: %w: no leader of %s answers, so nothing is written there: %w", ErrUnavailable, ErrElecting, strings.Join(without, ", "), last)
}
