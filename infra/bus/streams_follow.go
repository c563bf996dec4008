package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// FollowerPatience is how long a follower waits before it asks anew for what may have been lost.
const FollowerPatience = pullSilence * followHeartbeat / 2

const (
	// followHeartbeat is how often the server says that it still serves a follower
	// that waits; after two that failed to come the follower asks anew.
	followHeartbeat = time.Second
	// followBatch is how many messages a follower has asked for, or not read yet, at most.
	followBatch     = 8
	followRetry     = 50 * time.Millisecond
	followRetryMost = time.Second
	// followTry bounds the first attempts to make a consumer: what is asked of servers that elect a
	// leader is not answered. After followTries of them the servers may be slow instead.
	followTry   = time.Second
	followTries = 2

	// unreadableEvery is how often the log tells of messages that cannot be read.
	unreadableEvery = 10 * time.Second
)

// UnreadableError says that a message could not be decoded: another release wrote
// it, or it is no message of klive's. The follower goes on with the next one. It
// is an [AgedOutError] too, because to most readers the message is just as lost.
type UnreadableError struct {
	Subject string
	Seq     uint64
	Err     error // of the decoder
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("bus: %s: message %d cannot be read: %v", e.Subject, e.Seq, e.Err)
}

// Unwrap makes an UnreadableError the decoder's error and an AgedOutError.
func (e *UnreadableError) Unwrap() []error {
	return []error{e.Err, &AgedOutError{Subject: e.Subject, Want: e.Seq, First: e.Seq + 1}}
}

// streamFollower reads one subject. No more than followBatch messages are read ahead of Next: what
// lies behind them is the servers' to keep and to bound.
type streamFollower struct {
	streams *Streams
	shard   *shard
	subject string // as told by the caller
	wire    string

	ctx    context.Context // ends with Close, the engine and the connection
	cancel context.CancelFunc

	// mu guards the fields below; Next holds it all the while.
	mu       sync.Mutex
	want     uint64 // number of the next message; 0: whichever is the oldest
	cons     jetstream.Consumer
	messages *puller  // of cons; nil while there is none
	tries    int      // attempts to make one since there was one
	held     *arrival // read, to be returned after an AgedOutError
}

// arrival is a message as it came.
type arrival struct {
	number uint64
	pulled
}

// Follow implements [Media]. A from above 1 that the bus has dropped makes the
// first Next return an [AgedOutError]. A follower from the oldest that finds the
// subject empty takes it that nothing was published yet: if more was, and has left
// before, it reports that as dropped.
func (s *Streams) Follow(ctx context.Context, subject string, from uint64) (Follower, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	wire, err := encodeKey(subject)
	if err != nil {
		return nil, err
	}
	f := &streamFollower{streams: s, shard: s.shard(wire), subject: subject, wire: wire}
	if from > 1 {
		f.want = from
	}
	f.ctx, f.cancel = context.WithCancel(s.ctx)
	bound, cancel := s.within(ctx)
	defer cancel()
	if err := s.retry(bound, f.try); err != nil {
		f.Close()
		return nil, s.ended(err)
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.followers[f] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		f.Close()
		return nil, ErrClosed
	}
	return f, nil
}

// Next implements [Follower]. It goes on over reconnects, the end of a server and
// the loss of the stream, for as long as ctx lets it wait.
func (f *streamFollower) Next(ctx context.Context) (Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return Message{}, ErrClosed
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	a, err := f.next(both)
	switch {
	case f.ctx.Err() != nil:
		return Message{}, ErrClosed
	case err != nil && ctx.Err() != nil:
		return Message{}, ctx.Err()
	case err != nil:
		return Message{}, err
	}
	return f.decode(a)
}

// next returns the message numbered want.
func (f *streamFollower) next(ctx context.Context) (arrival, error) {
	for {
		a := f.held
		f.held = nil
		if a == nil {
			var err error
			if a, err = f.read(ctx); err != nil {
				return arrival{}, err
			}
		}
		switch {
		case a.number < f.want: // read before
		case a.number > f.want && f.want > 0:
			err := &AgedOutError{Subject: f.subject, Want: f.want, First: a.number}
			f.want, f.held = a.number, a
			f.streams.metrics.aged.Add(float64(err.First - err.Want))
			return arrival{}, err
		default:
			f.want = a.number + 1
			return *a, nil
		}
	}
}

// read returns the next message of the consumer, and makes another one when that
// fails, until ctx ends.
func (f *streamFollower) read(ctx context.Context) (*arrival, error) {
	for wait := followRetry; ; wait = min(2*wait, followRetryMost) {
		if f.messages == nil {
			_ = f.try(ctx) // is tried again
		}
		if f.messages != nil {
			if a := f.tryRead(ctx); a != nil {
				return a, nil
			}
			if ctx.Err() == nil {
				f.drop()
				f.streams.metrics.reopened.Inc()
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait): // also where consumers are made and end at once
		}
	}
}

// tryRead returns nil when the consumer is of no more use, or ctx has ended.
func (f *streamFollower) tryRead(ctx context.Context) *arrival {
	for {
		m, err := f.messages.next(ctx)
		if err != nil {
			return nil
		}
		if number := numberOf(m.Header); number > 0 {
			return &arrival{number, m}
		}
		f.streams.unreadable(f.subject, m.meta.Sequence.Stream, errors.New("it has no number"))
	}
}

// try makes one attempt to open a consumer.
func (f *streamFollower) try(ctx context.Context) error {
	limit := followTry
	if f.tries++; f.tries > followTries {
		limit = ackTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := f.open(ctx)
	if err == nil {
		f.tries = 0
	}
	return err
}

// open makes a consumer that begins at the wanted message.
func (f *streamFollower) open(ctx context.Context) error {
	doing := "follow " + f.subject
	start, err := f.start(ctx)
	if err != nil {
		return busError(doing, err)
	}
	cons, err := f.shard.consumer(ctx, f.wire, start)
	if err != nil {
		return busError(doing, err)
	}
	if info := cons.CachedInfo(); f.want == 0 && info != nil && info.NumPending == 0 {
		f.want = 1
	}
	messages, err := f.streams.control.pull(cons, followBatch, followHeartbeat)
	if err != nil {
		f.streams.control.forget(cons)
		return busError(doing, err)
	}
	f.cons, f.messages = cons, messages
	return nil
}

// start finds where the stream has the wanted message. It looks for it by number:
// the stream may be another one than a moment ago.
func (f *streamFollower) start(ctx context.Context) (jetstream.ConsumerConfig, error) {
	all := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if f.want <= 1 {
		return all, nil
	}
	var first uint64
	err := f.shard.scan(ctx, f.wire, func(m scanned) bool {
		first = m.streamSeq
		if m.number < f.want {
			first++
		}
		return m.number < f.want
	})
	if err != nil || first == 0 {
		return all, err
	}
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first}, nil
}

func (f *streamFollower) decode(a arrival) (Message, error) {
	body, err := f.streams.config.Decode(a.Data)
	if err != nil {
		f.streams.unreadable(f.subject, a.number, err)
		return Message{}, &UnreadableError{Subject: f.subject, Seq: a.number, Err: err}
	}
	f.streams.metrics.followed.Inc()
	return Message{Seq: a.number, ID: a.Header.Get(headerID), At: a.meta.Timestamp, Body: body}, nil
}

// unreadable tells the operator, now and then, of what followers cannot read.
func (s *Streams) unreadable(subject string, seq uint64, err error) {
	s.metrics.unreadable.Inc()
	now := time.Now()
	s.mu.Lock()
	quiet := !s.warned.IsZero() && now.Sub(s.warned) < unreadableEvery
	if !quiet {
		s.warned = now
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Error("bus: a media message cannot be read and is skipped; klive's releases may differ by one at most: bring all processes to the same",
			"subject", subject, "seq", seq, "error", err)
	}
}

// drop gives the consumer back.
func (f *streamFollower) drop() {
	if f.messages == nil {
		return
	}
	f.messages.close()
	f.streams.control.forget(f.cons)
	f.messages, f.cons = nil, nil
}

// Close implements [Follower].
func (f *streamFollower) Close() {
	f.cancel()
	f.streams.mu.Lock()
	delete(f.streams.followers, f)
	f.streams.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop()
	f.held = nil
}
