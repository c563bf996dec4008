package spool

import (
	"container/list"
	"time"

	"klive/storage"
)

// item is a spooled object.
type item struct {
	number uint64 // in the spool, from 1; the file's name
	key    string
	size   int64
	crc    uint32
	opt    storage.PutOptions
	at     time.Time // of this process's own, by time that runs; of one before it, by the wall clock
	offset int64     // of the object in its file

	// The rest is guarded by Spool.mu.
	place   *list.Element // nil when it is not on the shelf
	settled []func(error)
	busy    int // attempts to store it that are under way
	fails   int
	// notBefore is when it is tried next, after it has failed more often than others.
	notBefore time.Time
}

// shelf is the spooled objects, oldest first.
type shelf struct {
	order *list.List // of *item
	byKey map[string]*item
	// bytes are those of the items and of what is being written.
	bytes  int64
	number uint64 // the last one given
}

func (h *shelf) oldest() *item {
	if e := h.order.Front(); e != nil {
		return e.Value.(*item)
	}
	return nil
}

// newest returns the newest item that nobody is storing, or nil.
func (h *shelf) newest() *item {
	for e := h.order.Back(); e != nil; e = e.Prev() {
		if it := e.Value.(*item); it.busy == 0 {
			return it
		}
	}
	return nil
}

// add puts an item in its place; its bytes are counted already.
func (h *shelf) add(it *item) {
	h.number = max(h.number, it.number)
	h.byKey[it.key] = it
	e := h.order.Back()
	for e != nil && e.Value.(*item).number > it.number {
		e = e.Prev()
	}
	if e == nil {
		it.place = h.order.PushFront(it)
	} else {
		it.place = h.order.InsertAfter(it, e)
	}
}

func (h *shelf) remove(it *item) {
	h.order.Remove(it.place)
	it.place = nil
	delete(h.byKey, it.key)
	h.bytes -= it.size
}

// next returns the oldest item that nobody is storing and whose time has come. Without one,
// it returns when the first one's time comes.
func (h *shelf) next(now time.Time) (*item, time.Time) {
	var first time.Time
	for e := h.order.Front(); e != nil; e = e.Next() {
		it := e.Value.(*item)
		if it.busy > 0 {
			continue
		}
		if !it.notBefore.After(now) {
			return it, time.Time{}
		}
		if first.IsZero() || it.notBefore.Before(first) {
			first = it.notBefore
		}
	}
	return nil, first
}
