package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultQueueAge   = 5 * time.Minute
	defaultQueueBytes = 16 << 20
	defaultQueueAck   = 3 * time.Second

	// MaxTaskBytes bounds a task.
	MaxTaskBytes = 64 << 10

	// takers is the one durable consumer of a queue, which all who take share.
	takers = "takers"
	// takeWait is how long the server holds one request for a task.
	takeWait = 5 * time.Second
	// takeRetry is the pause after a request that failed.
	takeRetry = 200 * time.Millisecond
	// takePatience is how long requests may fail in a row, other than for want of a connection.
	takePatience = 5 * time.Second
)

// QueueConfig is what [Control.Queue] needs. All processes on a bus say the same.
type QueueConfig struct {
	// Name is letters, digits, - and _.
	Name string
	// AckWait is how long a task that was taken may be silent before it is given to somebody
	// else; 0 means 3 s.
	AckWait time.Duration
	// MaxAge is how long a task waits at most; 0 means five minutes. Then it is dropped, and
	// whoever put it must have a deadline of its own.
	MaxAge time.Duration
	// MaxBytes bounds what waits, in the servers' memory; 0 means 16 MiB. A queue that is full takes no more.
	MaxBytes int64
}

// Queue hands out tasks, each to one taker at a time, oldest first, until one has done it. It
// is kept by the servers; whoever puts and takes may die at any moment.
type Queue struct {
	control *Control
	name    string
	stream  jetstream.Stream
}

// Queue opens a queue and makes it if need be.
func (c *Control) Queue(ctx context.Context, config QueueConfig) (*Queue, error) {
	if err := checkName(config.Name); err != nil {
		return nil, err
	}
	if config.AckWait <= 0 {
		config.AckWait = defaultQueueAck
	}
	if config.MaxAge <= 0 {
		config.MaxAge = defaultQueueAge
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = defaultQueueBytes
	}
	q := &Queue{control: c, name: config.Name}
	settle := func(ctx context.Context) error {
		if _, err := c.settle(ctx, q.streamName(), c.replicas, q.maker(config)); err != nil {
			return err
		}
		return open(ctx, func(ctx context.Context) error {
			s, err := c.js.Stream(ctx, q.streamName())
			if err == nil {
				_, err = s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
					Durable: takers, AckPolicy: jetstream.AckExplicitPolicy, AckWait: config.AckWait, MaxAckPending: -1,
				})
			}
			return err
		})
	}
	if err := settle(ctx); err != nil {
		return nil, busError("open queue "+config.Name, err)
	}
	err := open(ctx, func(ctx context.Context) (err error) {
		q.stream, err = c.js.Stream(ctx, q.streamName())
		return err
	})
	if err != nil {
		return nil, busError("open queue "+config.Name, err)
	}
	c.opened(q.streamName(), opened{subject: q.subject(), settle: settle, again: func(ctx context.Context) error {
		if err := settle(ctx); err != nil {
			return c.leaderError("make queue "+config.Name+" anew", err)
		}
		c.log.Warn("bus: a queue was missing; it is there again, without what it held", "queue", config.Name)
		return nil
	}})
	return q, nil
}

const (
	queueStream   = "klive_queue_" // a queue's stream, before its name
	queueSubjects = "klive.queue." // its subject, before its name
)

func (q *Queue) streamName() string { return queueStream + q.name }

func (q *Queue) subject() string { return queueSubjects + q.name }

func (q *Queue) maker(config QueueConfig) streamMaker {
	with := func(replicas int) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:       q.streamName(),
			Subjects:   []string{q.subject()},
			Retention:  jetstream.WorkQueuePolicy,
			Storage:    q.control.storage(true),
			Replicas:   replicas,
			MaxAge:     config.MaxAge,
			MaxBytes:   config.MaxBytes,
			MaxMsgSize: MaxTaskBytes + 4096, // the task and its headers
			Duplicates: min(repeatWindow, config.MaxAge),
			Discard:    jetstream.DiscardNew,
		}
	}
	return streamMaker{
		fewer: true, // a task that is lost is put again, or given up in time
		create: func(ctx context.Context, replicas int) error {
			_, err := q.control.js.CreateStream(ctx, with(replicas))
			return err
		},
		update: func(ctx context.Context, replicas int) error {
			_, err := q.control.js.UpdateStream(ctx, with(replicas))
			return err
		},
	}
}

// Put adds a task. One whose id was put within two minutes is not added again, done or not.
// A queue that is full returns [ErrFull].
func (q *Queue) Put(ctx context.Context, id string, task []byte) error {
	if id == "" || len(id) > maxKeyBytes || strings.ContainsAny(id, "\r\n") {
		return fmt.Errorf("%w: task id %.40q: want one line of 1 to %d bytes", ErrInvalid, id, maxKeyBytes)
	}
	if len(task) > MaxTaskBytes {
		return fmt.Errorf("%w: task %s of queue %s: %d bytes, at most %d", ErrTooLarge, id, q.name, len(task), MaxTaskBytes)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := q.control.publish(ctx, &nats.Msg{Subject: q.subject(), Data: task}, jetstream.MsgIDHeader, id, nil)
	return busError("put task "+id+" into queue "+q.name, err)
}

// Task is one task in the hands of its taker, who is silent for no longer than the queue's
// AckWait until it is done with it.
type Task struct {
	ID   string
	Data []byte
	// At is when it was put, Tries how often it has been taken, this time included.
	At    time.Time
	Tries int

	control *Control
	msg     jetstream.Msg
}

// Take waits for a task, over reconnects and elections, until ctx ends. What waiting does not help against, such
// as a refusal or a consumer that somebody deleted, it returns after five seconds of it; it may be called again.
func (q *Queue) Take(ctx context.Context) (*Task, error) {
	var since time.Time // of the first of such errors in a row
	for {
		t, err := q.take(ctx)
		switch {
		case t != nil:
			return t, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, nats.ErrConnectionClosed):
			return nil, ErrClosed
		case err == nil:
			since = time.Time{}
			continue
		}
		err = busError("take from queue "+q.name, err)
		switch {
		case errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed): // a subscription ends with its connection
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= takePatience:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.control.ctx.Done():
			return nil, ErrClosed
		case <-time.After(takeRetry):
		}
	}
}

// take asks once; nil when there was none.
func (q *Queue) take(ctx context.Context) (*Task, error) {
	ask, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cons, err := q.control.js.Consumer(ask, q.streamName(), takers)
	if err != nil {
		return nil, err
	}
	wait, done := context.WithTimeout(ctx, takeWait)
	defer done()
	batch, err := cons.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return nil, err
	}
	if msg, ok := <-batch.Messages(); ok {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		return &Task{ID: msg.Headers().Get(jetstream.MsgIDHeader), Data: msg.Data(), At: meta.Timestamp,
			Tries: int(meta.NumDelivered), control: q.control, msg: msg}, nil
	}
	if err := batch.Error(); err != nil && wait.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
		return nil, err
	}
	return nil, nil
}

// Extend says that the taker is still at it. It does not wait for an answer.
func (t *Task) Extend() error { return busError("extend task "+t.ID, t.msg.InProgress()) }

// Done removes the task, and returns when the servers have done so. After an error nobody
// knows: the task may be given out again.
func (t *Task) Done(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return busError("finish task "+t.ID, t.control.insist(ctx, t.msg.DoubleAck))
}

// Return gives the task back, for somebody to take after the delay.
func (t *Task) Return(delay time.Duration) error {
	return busError("return task "+t.ID, t.msg.NakWithDelay(delay))
}

// QueueState is how a queue stands.
type QueueState struct {
	// Tasks is how many there are, Taken how many of them are in somebody's hands.
	Tasks, Taken int
	// Oldest is when the oldest was put; zero when there is none.
	Oldest time.Time
}

// State asks the servers.
func (q *Queue) State(ctx context.Context) (QueueState, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	info, err := q.stream.Info(ctx)
	if err != nil {
		return QueueState{}, busError("look at queue "+q.name, err)
	}
	s := QueueState{Tasks: int(info.State.Msgs)}
	if s.Tasks > 0 {
		s.Oldest = info.State.FirstTime
	}
	cons, err := q.stream.Consumer(ctx, takers)
	if err != nil {
		return s, busError("look at queue "+q.name, err)
	}
	s.Taken = cons.CachedInfo().NumAckPending
	return s, nil
}
