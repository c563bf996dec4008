package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

const (
	// outboxTime is how long parts wait for the media plane, outboxBytes bounds those that do: enough
	// for a bus that elects a new leader, which takes it four to nine seconds, and fifteen on
	// machines that are loaded.
	outboxTime  = 25 * time.Second
	outboxBytes = 64 << 20
	// retryAfter is how long a publish that failed waits for the next attempt.
	retryAfter = 100 * time.Millisecond
)

// outbox holds a feed's parts until the media plane has acknowledged them. When it is full
// it drops whole segments, oldest first, and never holds up the encoder.
type outbox struct {
	publish func(context.Context, *live.Part) error
	// dropped hears of parts that were given up.
	dropped func(parts int)

	mu    sync.Mutex // guards the fields below
	queue []waitingPart
	bytes int
	// spoiled is the segment of a part that can never be published: without it the rest is of
	// no use. 0 when there is none.
	spoiled uint64
	closed  bool
	wake    chan struct{}
}

// waitingPart is a part and when it began to wait.
type waitingPart struct {
	*live.Part
	since time.Time
}

func newOutbox(publish func(context.Context, *live.Part) error, dropped func(int)) *outbox {
	return &outbox{publish: publish, dropped: dropped, wake: make(chan struct{}, 1)}
}

// push queues a part.
func (o *outbox) push(p *live.Part) {
	o.mu.Lock()
	lost := 1
	if p.Segment.Number != o.spoiled {
		now := time.Now()
		o.queue = append(o.queue, waitingPart{p, now})
		o.bytes += p.Size()
		lost = o.makeRoom(now)
	}
	o.mu.Unlock()
	if lost > 0 {
		o.dropped(lost)
	}
	o.signal()
}

// makeRoom drops the oldest segment while the queue is over its bounds. The part at the head
// may be on its way; it goes with the others.
func (o *outbox) makeRoom(now time.Time) (lost int) {
	for len(o.queue) > 1 && (o.bytes > outboxBytes || now.Sub(o.queue[0].since) > outboxTime) {
		oldest := o.queue[0].Segment.Number
		for len(o.queue) > 1 && o.queue[0].Segment.Number == oldest {
			o.shift()
			lost++
		}
	}
	return lost
}

func (o *outbox) shift() {
	o.bytes -= o.queue[0].Size()
	o.queue[0] = waitingPart{}
	o.queue = o.queue[1:]
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close lets run return once the queue is empty.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) head() (p *live.Part, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.queue = nil
		return nil, o.closed
	}
	return o.queue[0].Part, o.closed
}

// done removes a part that was published, unless it was dropped meanwhile.
func (o *outbox) done(p *live.Part) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) > 0 && o.queue[0].Part == p {
		o.shift()
	}
}

// spoil drops a part that can never be published, and the rest of its segment with it.
func (o *outbox) spoil(p *live.Part) {
	o.mu.Lock()
	o.spoiled = p.Segment.Number
	lost := 0
	for len(o.queue) > 0 && o.queue[0].Segment.Number == o.spoiled {
		o.shift()
		lost++
	}
	o.mu.Unlock()
	if lost > 0 {
		o.dropped(lost)
	}
}

// hopeless reports whether a part will not be taken however often it is tried.
func hopeless(err error) bool {
	return errors.Is(err, bus.ErrTooLarge) || errors.Is(err, bus.ErrInvalid)
}

// run publishes parts in order, each until it is acknowledged, and returns when the outbox
// is closed and empty or ctx ends.
func (o *outbox) run(ctx context.Context) {
	for {
		p, closed := o.head()
		switch {
		case p == nil && closed:
			return
		case p == nil:
			select {
			case <-o.wake:
			case <-ctx.Done():
				return
			}
		default:
			if !o.carry(ctx, p) {
				return
			}
		}
	}
}

// carry makes one attempt to publish a part. It reports false when ctx has ended.
func (o *outbox) carry(ctx context.Context, p *live.Part) bool {
	switch err := o.publish(ctx, p); {
	case err == nil:
		o.done(p)
	case hopeless(err):
		o.spoil(p)
	default:
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
