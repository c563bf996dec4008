package timeline

import (
	"container/list"
	"context"
	"sync"

	"klive/storage"
)

// chapterCache keeps the chapters used last, up to a number of items in all. Several
// readers of a missing chapter share one load.
type chapterCache struct {
	store storage.Store
	max   int

	// mu guards the fields below.
	mu    sync.Mutex
	items int
	byKey map[string]*list.Element // of *cachedChapter
	order *list.List               // the one used last in front
}

type cachedChapter struct {
	key   string
	ready chan struct{} // closed when items or err is set
	items []Item
	err   error
	// counted is set when items is part of the cache's sum; guarded by its lock.
	counted bool
}

func newChapterCache(store storage.Store, maxItems int) *chapterCache {
	return &chapterCache{store: store, max: maxItems, byKey: map[string]*list.Element{}, order: list.New()}
}

func (c *chapterCache) load(ctx context.Context, broadcast string, ch Chapter) ([]Item, error) {
	c.mu.Lock()
	if e, ok := c.byKey[ch.Key]; ok {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cachedChapter).wait(ctx)
	}
	n := &cachedChapter{key: ch.Key, ready: make(chan struct{})}
	e := c.order.PushFront(n)
	c.byKey[ch.Key] = e
	c.mu.Unlock()

	// Others wait for this load, so it does not end with this caller's patience.
	n.items, n.err = LoadChapter(context.WithoutCancel(ctx), c.store, broadcast, ch)
	close(n.ready)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.err != nil {
		c.remove(e)
		return nil, n.err
	}
	c.items += len(n.items)
	n.counted = true
	c.trim(e)
	return n.items, nil
}

func (n *cachedChapter) wait(ctx context.Context) ([]Item, error) {
	select {
	case <-n.ready:
		return n.items, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// trim removes the chapters used the longest ago, but not keep. c.mu is held.
func (c *chapterCache) trim(keep *list.Element) {
	for e := c.order.Back(); e != nil && c.items > c.max; {
		prev := e.Prev()
		if n := e.Value.(*cachedChapter); n.counted && e != keep {
			c.items -= len(n.items)
			c.remove(e)
		}
		e = prev
	}
}

func (c *chapterCache) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.byKey, e.Value.(*cachedChapter).key)
}
