package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a media message.
const (
	headerSeq = "Klive-Seq" // the publisher's number
	headerID  = "Klive-Id"  // the publisher's id
)

const (
	// ackTimeout is how long one attempt waits for its acknowledgement. A repeat is
	// harmless, and sooner than a new leader is known.
	ackTimeout   = 2 * time.Second
	publishRetry = 100 * time.Millisecond

	// publisherMemory is the least time for which a publisher is remembered.
	publisherMemory = 10 * time.Minute
	// headerBytes is more than a media message's headers take.
	headerBytes = 1024
)

// publisher is this process's view of a subject that it publishes to.
type publisher struct {
	streams *Streams
	shard   *shard
	subject string // as told by the caller
	wire    string

	turn chan struct{} // a token: whoever holds it may use the fields below
	used time.Time     // guarded by Streams.mu

	known  bool              // the bus has been asked what the subject holds
	last   uint64            // the highest number that the bus is known to have
	sent   []sent            // the messages of the last MaxAge, oldest first
	ids    map[string]uint64 // id → number, of sent
	purged int               // how many of sent, the oldest, were removed from the bus
	bytes  int64             // of the others
}

// sent is a message that was published.
type sent struct {
	id        string
	number    uint64
	streamSeq uint64
	size      int64
	at        time.Time
}

// Publish implements [Media]. It tries for up to five seconds and then returns
// [ErrUnavailable]: the message may have been stored all the same, and a repeat
// with the same id, or a publish with another, is safe.
func (s *Streams) Publish(ctx context.Context, subject, id string, body Body) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if id == "" || len(id) > maxKeyBytes || strings.ContainsAny(id, "\r\n") || body == nil {
		return 0, fmt.Errorf("%w: a media message needs a body and an id, one line of 1 to %d bytes; this one is %.40q", ErrInvalid, maxKeyBytes, id)
	}
	wire, err := encodeKey(subject)
	if err != nil {
		return 0, err
	}
	p, err := s.publisher(subject, wire)
	if err != nil {
		return 0, err
	}
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf) // the client library has copied it when a publish returns
	if *buf, err = body.AppendBinary((*buf)[:0]); err != nil {
		return 0, fmt.Errorf("bus: publish %s to %s: %w", id, subject, err)
	}
	if err := s.fits(subject, int64(len(*buf))); err != nil {
		return 0, err
	}
	start := time.Now()
	bound, cancel := s.within(ctx)
	defer cancel()
	seq, err := p.publish(bound, id, *buf)
	if err != nil {
		s.metrics.failed.Inc()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, s.ended(err)
	}
	s.metrics.publish.Observe(time.Since(start).Seconds())
	return seq, nil
}

func (s *Streams) fits(subject string, size int64) error {
	if limit := s.control.nc.MaxPayload() - headerBytes; size > limit {
		return fmt.Errorf("%w: %s: a message of %d bytes, the NATS server takes %d: set max_payload to 8MB in its configuration",
			ErrTooLarge, subject, size, limit)
	}
	if limit := min(s.config.MaxBytes, s.config.MaxTotalBytes/int64(s.config.Shards)); size > limit {
		return fmt.Errorf("%w: %s: a message of %d bytes, at most %d are kept: make parts smaller or bus.retention.bytes larger",
			ErrTooLarge, subject, size, limit)
	}
	return nil
}

// publisher returns the record of a subject that is about to be published to, and
// forgets those that have long not been.
func (s *Streams) publisher(subject, wire string) (*publisher, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	p := s.publishers[subject]
	if p == nil {
		for name, old := range s.publishers {
			if now.Sub(old.used) > max(publisherMemory, s.config.MaxAge) {
				delete(s.publishers, name)
			}
		}
		p = &publisher{streams: s, shard: s.shard(wire), subject: subject, wire: wire,
			turn: make(chan struct{}, 1), ids: make(map[string]uint64)}
		s.publishers[subject] = p
	}
	p.used = now
	return p, nil
}

// publish stores one message. One at a time: a number is given when the one
// before it is known to be stored.
func (p *publisher) publish(ctx context.Context, id string, data []byte) (uint64, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return 0, busError("publish "+id+" to "+p.subject, ctx.Err())
	}
	if !p.known {
		if err := p.learn(ctx); err != nil {
			return 0, busError("publish "+id+" to "+p.subject, err)
		}
	}
	p.forget(time.Now().Add(-p.streams.config.MaxAge))
	if number, ok := p.ids[id]; ok {
		return number, nil
	}
	p.makeRoom(ctx, int64(len(data)))
	for {
		number := p.last + 1
		ack, err := p.send(ctx, id, number, data)
		if err != nil {
			return 0, busError("publish "+id+" to "+p.subject, err)
		}
		owner := id
		if ack.Duplicate {
			if owner, err = p.owner(ctx, ack.Sequence); err != nil {
				return 0, err
			}
		}
		p.add(sent{id: owner, number: number, streamSeq: ack.Sequence, size: int64(len(data)), at: time.Now()})
		if owner == id {
			return number, nil
		}
	}
}

// send publishes until the message is acknowledged, time is over or trying again
// is of no use.
func (p *publisher) send(ctx context.Context, id string, number uint64, data []byte) (*jetstream.PubAck, error) {
	n := strconv.FormatUint(number, 10)
	m := &nats.Msg{Subject: p.shard.subject(p.wire), Data: data, Header: nats.Header{
		jetstream.MsgIDHeader: {messageID(p.wire, n)}, headerSeq: {n}, headerID: {id},
	}}
	var ack *jetstream.PubAck
	err := p.streams.retry(ctx, func(ctx context.Context) (err error) {
		ack, err = p.streams.control.js.PublishMsg(ctx, m)
		p.shard.trouble.note(err)
		if missing(err) {
			if made := p.shard.again(ctx); made != nil {
				return made // says more
			}
		}
		return err
	})
	return ack, err
}

// retry calls f until it succeeds, ctx ends or trying again is of no use. An
// attempt that is not answered in time is given up: whom it was sent to may be
// gone, and a repeat finds the next.
func (s *Streams) retry(ctx context.Context, f func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, ackTimeout)
		err := f(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		s.metrics.retries.Inc()
		select {
		case <-ctx.Done():
			return err
		case <-time.After(publishRetry):
		}
	}
}

// passing says whether an error may go by itself: the bus is electing a leader,
// or the connection is lost.
func passing(err error) bool {
	_, sentinel := classify(err)
	return sentinel == ErrUnavailable || errors.Is(err, ErrUnavailable)
}

// missing says whether an error may mean that the stream does not exist.
func missing(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, nats.ErrNoResponders)
}

// owner tells whose message has taken a number: this process's own, of which the
// answer was lost, or another publisher's. Empty means that it is gone already.
func (p *publisher) owner(ctx context.Context, streamSeq uint64) (string, error) {
	var raw *jetstream.RawStreamMsg
	err := p.streams.retry(ctx, func(ctx context.Context) (err error) {
		raw, err = p.shard.stream.GetMsg(ctx, streamSeq)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", busError("find what was published to "+p.subject, err)
	}
	return raw.Header.Get(headerID), nil
}

// learn asks the bus what it holds of the subject, once: another process may have
// published to it before.
func (p *publisher) learn(ctx context.Context) error {
	err := p.streams.retry(ctx, func(ctx context.Context) error {
		_, err := p.shard.stream.GetLastMsgForSubject(ctx, p.shard.subject(p.wire))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // how all feeds begin
		}
		p.last, p.purged, p.bytes, p.sent, p.ids = 0, 0, 0, nil, make(map[string]uint64)
		return p.shard.scan(ctx, p.wire, func(m scanned) bool {
			p.add(sent(m))
			return true
		})
	})
	p.known = err == nil
	return err
}

func (p *publisher) add(m sent) {
	p.last = max(p.last, m.number)
	p.sent = append(p.sent, m)
	p.bytes += m.size
	p.ids[m.id] = m.number
}

// forget forgets what the bus has dropped by age, and the oldest beyond a bound.
func (p *publisher) forget(before time.Time) {
	n := 0
	for n < len(p.sent) && (!p.sent[n].at.After(before) || len(p.sent)-n >= maxRingMessages) {
		if n >= p.purged {
			p.bytes -= p.sent[n].size
		}
		delete(p.ids, p.sent[n].id)
		n++
	}
	clear(p.sent[:n]) // the strings must not live on in the array's front
	p.sent = p.sent[n:]
	p.purged = max(0, p.purged-n)
}

// makeRoom removes the subject's oldest messages from the bus when there is no
// room for size more bytes, and an eighth more than needed, so that it is rare. If
// that fails, it is tried again with the next message; the stream's own bound
// holds meanwhile.
func (p *publisher) makeRoom(ctx context.Context, size int64) {
	limit := p.streams.config.MaxBytes
	if p.bytes+size <= limit {
		return
	}
	n, bytes := p.purged, p.bytes
	for n < len(p.sent) && bytes+size > limit-limit/8 {
		bytes -= p.sent[n].size
		n++
	}
	if n == p.purged {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	first := p.sent[n-1].streamSeq + 1
	err := p.shard.stream.Purge(ctx, jetstream.WithPurgeSubject(p.shard.subject(p.wire)), jetstream.WithPurgeSequence(first))
	if err != nil {
		p.streams.log.Warn("bus: old parts could not be removed, trying again with the next one", "subject", p.subject, "error", err)
		return
	}
	p.streams.metrics.purged.Add(float64(n - p.purged))
	p.purged, p.bytes = n, bytes
}
