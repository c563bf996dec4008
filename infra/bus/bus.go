// Package bus is what gateways, workers and origins share: a media plane that
// carries parts, and a control plane that holds leases, feed records, timeline
// records and short notices. It knows bytes, ids and leases, not video.
//
// The media plane ([Media]) has one engine per way of running klive: [Ring]
// passes references inside one process, [Streams] carries messages between
// processes. The control plane ([Control]) is always
// NATS JetStream, embedded or external.
package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Body is what a media-plane message carries. A body is immutable once published:
// an in-process engine hands the very same value to every follower.
type Body interface {
	// Size is the body's memory in bytes, for budgets and metrics.
	Size() int
	// AppendBinary appends the body's wire form to b.
	AppendBinary(b []byte) ([]byte, error)
}

// Message is one message of the media plane.
type Message struct {
	// Seq numbers the messages of one subject, from 1, without a hole at publish time.
	Seq uint64
	// ID is the publisher's id; it is unique within a subject.
	ID string
	// At is when the engine stored the message.
	At time.Time
	Body
}

// Media is the media plane. All methods are safe for concurrent use.
type Media interface {
	// Publish stores body under subject and returns its sequence number when it is
	// as durable as the engine can make it. A repeated id within a subject is not
	// stored again: the first one's sequence number is returned.
	Publish(ctx context.Context, subject, id string, body Body) (seq uint64, err error)
	// Follow reads subject from the first kept message whose Seq is at least from
	// (0 and 1 both mean the oldest kept). The subject need not exist yet.
	Follow(ctx context.Context, subject string, from uint64) (Follower, error)
	// Release says that nobody needs the messages of subject up to and including
	// seq any more. It is a hint: an engine may free them at once or ignore it.
	Release(subject string, seq uint64)
}

// Follower reads one subject in order. It is not safe for concurrent use.
type Follower interface {
	// Next returns the next message and waits for it if need be. When messages that
	// the follower had not read yet have left the engine, it returns an [AgedOutError]
	// once and goes on with the oldest kept message at the following call. A call that may
	// wait no longer than [FollowerPatience] does not notice that what it asked for was lost.
	Next(ctx context.Context) (Message, error)
	// Close ends the follower and wakes a waiting Next, which returns ErrClosed.
	Close()
}

// ErrClosed is returned by calls on an engine, follower or connection that was closed.
var ErrClosed = errors.New("bus: closed")

// ErrNotFound is returned when a bucket holds no value under a key.
var ErrNotFound = errors.New("bus: key not found")

// ErrConflict is returned by conditional writes whose condition does not hold:
// the key exists already, or its revision is another one.
var ErrConflict = errors.New("bus: revision conflict")

// AgedOutError says that messages left the engine before the follower read them.
type AgedOutError struct {
	Subject string
	// Want is the sequence number the follower would have read, First the oldest kept.
	Want, First uint64
}

func (e *AgedOutError) Error() string {
	return fmt.Sprintf("bus: %s: messages %d to %d were dropped before they were read", e.Subject, e.Want, e.First-1)
}

// ErrAnew ends a watcher or follower whose bucket or log was made anew, or came back without
// what was written last: numbers in it are used again, so its reader begins again too.
var ErrAnew = errors.New("bus: made anew without what it held")

// ErrInvalid is returned for a name, key, subject or setting that the bus cannot take.
var ErrInvalid = errors.New("bus: invalid argument")

// ErrTooLarge is returned for a value, body or payload above the bound that its error names.
var ErrTooLarge = errors.New("bus: too large")

// ErrUnavailable is returned when the bus does not answer. The write may have
// happened all the same; a repeat with the same id or condition is safe.
var ErrUnavailable = errors.New("bus: not available")

// ErrElecting says that the bus is connected and gives no answer, as while it elects a leader.
// It comes with [ErrUnavailable].
var ErrElecting = errors.New("the bus is electing a leader, or most of its nodes are away")

// ErrDenied is returned when the NATS server does not let this process in, or not
// do what it must.
var ErrDenied = errors.New("bus: access denied")

// ErrFull is returned when a bucket, a log or the whole node is out of room.
var ErrFull = errors.New("bus: out of room")

// ErrNoReply is returned by a request that nobody is there to answer.
var ErrNoReply = errors.New("bus: nobody answers")

// ErrInUse is returned when another process holds the data folder.
var ErrInUse = errors.New("bus: data folder in use")
