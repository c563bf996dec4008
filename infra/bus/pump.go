package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	pumpBatch     = 64
	pumpIdle      = time.Minute // the server forgets an unread consumer after this
	pumpRetry     = 100 * time.Millisecond
	pumpRetryMost = 500 * time.Millisecond
	// pumpTry bounds an attempt to make a consumer: what is asked of servers that elect a
	// leader is not answered. After pumpTries of them the servers may be slow instead.
	pumpTry   = time.Second
	pumpTries = 10
	// pumpShort is how long a stream may end before what was read of it: a new leader may
	// have to catch up first.
	pumpShort = 2 * time.Second
)

// pump carries a stream's messages to one reader, in order and without holes,
// over reconnects and changes of the server: it makes itself a consumer and,
// whenever that fails or skips, another one from where it was. It ends with [ErrAnew]
// when the stream is no longer the one that was read: made anew, or without its end.
type pump struct {
	control *Control
	name    string // of the stream
	filter  string
	beat    time.Duration
	start   jetstream.ConsumerConfig // the first consumer's start
	created time.Time                // when the stream was made
	last    uint64                   // stream sequence of the last message passed on
	lastAt  time.Time                // when the stream took that
	short   time.Time                // since when the stream ends before it; zero while it does not

	out    chan pulled   // without a message, the word that all that was there at the beginning has been passed on
	done   chan struct{} // closed when the pump has ended, by itself or by stop
	err    error         // why it ended by itself; read after done
	stop   func()
	caught bool
}

// openPump starts a pump. The consumer exists when it returns.
func (c *Control) openPump(ctx context.Context, s jetstream.Stream, filter string, start jetstream.ConsumerConfig) (*pump, error) {
	p := &pump{control: c, name: s.CachedInfo().Config.Name, filter: filter, beat: c.beat, start: start, out: make(chan pulled, pumpBatch), done: make(chan struct{})}
	cons, err := p.consumer(ctx)
	if err != nil {
		return nil, err
	}
	p.stop, err = c.run(func(ctx context.Context) {
		defer close(p.done)
		p.err = p.run(ctx, cons)
	})
	return p, err
}

// next waits for a message; the marker comes once.
func (p *pump) next(ctx context.Context) (pulled, error) {
	select {
	case m := <-p.out:
		return m, nil
	default:
	}
	select {
	case m := <-p.out:
		return m, nil
	case <-p.done:
		return pulled{}, p.err
	case <-ctx.Done():
		return pulled{}, ctx.Err()
	}
}

// consumer makes a consumer that goes on behind the last message.
func (p *pump) consumer(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := p.control.js.Stream(ctx, p.name)
	if err != nil {
		return nil, err
	}
	if err := p.same(ctx, stream); err != nil {
		return nil, err
	}
	config := p.start
	if p.last > 0 {
		config = jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: p.last + 1}
	}
	config.FilterSubject = p.filter
	config.AckPolicy = jetstream.AckNonePolicy
	config.InactiveThreshold = pumpIdle
	config.Replicas = 1
	config.MemoryStorage = true
	cons, err := stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := p.control.reach(ctx, cons); err != nil {
		p.control.forget(cons)
		return nil, err
	}
	return cons, nil
}

// errShort is returned while the stream ends before what was read of it.
var errShort = errors.New("bus: the stream has less than was read of it")

// same returns nil when the stream is the one that has been read so far, and [ErrAnew] when
// it is not.
func (p *pump) same(ctx context.Context, s jetstream.Stream) error {
	info := s.CachedInfo()
	if p.created.IsZero() {
		p.created = info.Created
	}
	switch {
	case !info.Created.Equal(p.created):
		return fmt.Errorf("%w: %s", ErrAnew, p.name)
	case p.last == 0:
		return nil
	case info.State.LastSeq < p.last:
		if p.short.IsZero() {
			p.short = time.Now()
		}
		if time.Since(p.short) < pumpShort {
			return errShort
		}
		return fmt.Errorf("%w: %s ends at %d, was read to %d", ErrAnew, p.name, info.State.LastSeq, p.last)
	}
	p.short = time.Time{}
	// What was lost may have been written over already.
	msg, err := s.GetMsg(ctx, p.last)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err != nil:
		return err
	case !msg.Time.Equal(p.lastAt):
		return fmt.Errorf("%w: %s has another message %d", ErrAnew, p.name, p.last)
	}
	return nil
}

// run reads consumer after consumer until the context ends, which is [ErrClosed], or the
// stream is another one.
func (p *pump) run(ctx context.Context, cons jetstream.Consumer) error {
	wait, tries := pumpRetry, 0
	for ctx.Err() == nil {
		if cons != nil {
			if p.read(ctx, cons) {
				wait = pumpRetry
			}
			p.control.forget(cons)
			tries = 0
		}
		select {
		case <-ctx.Done():
			return ErrClosed
		case <-time.After(wait):
		}
		wait = min(2*wait, pumpRetryMost)
		limit := pumpTry
		if tries++; tries > pumpTries {
			limit = requestTimeout
		}
		attempt, cancel := context.WithTimeout(ctx, limit)
		var err error
		cons, err = p.consumer(attempt)
		cancel()
		if errors.Is(err, ErrAnew) {
			return err
		}
	}
	return ErrClosed
}

// read passes a consumer's messages on until it fails, skips one or the context
// ends. It says whether there were any.
func (p *pump) read(ctx context.Context, cons jetstream.Consumer) (any bool) {
	if info := cons.CachedInfo(); info != nil && info.NumPending == 0 && !p.caughtUp(ctx) {
		return false
	}
	messages, err := p.control.pull(cons, pumpBatch, p.beat)
	if err != nil {
		return false
	}
	defer messages.close()
	for {
		m, err := messages.next(ctx)
		if err != nil || !p.send(ctx, m) {
			return any
		}
		p.last, p.lastAt, any = m.meta.Sequence.Stream, m.meta.Timestamp, true
		if m.meta.NumPending == 0 && !p.caughtUp(ctx) {
			return any
		}
	}
}

func (p *pump) caughtUp(ctx context.Context) bool {
	if p.caught {
		return true
	}
	p.caught = true
	return p.send(ctx, pulled{})
}

func (p *pump) send(ctx context.Context, m pulled) bool {
	select {
	case p.out <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

// forget tells the server in the background that a consumer is no longer read, if it can
// be told. Otherwise it goes by itself when it has been idle for long enough.
func (c *Control) forget(cons jetstream.Consumer) {
	info := cons.CachedInfo()
	if info == nil {
		return
	}
	_, _ = c.run(func(ctx context.Context) { // fails when the connection is closed
		ctx, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		_ = c.js.DeleteConsumer(ctx, info.Stream, info.Name)
	})
}
