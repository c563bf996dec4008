package timeline

import (
	"context"
	"errors"
	"fmt"
)

// LogName is the bus log that holds the records of all entries.
const LogName = "timeline"

// Subject is where an entry's records stand in the log.
func Subject(entry string) string { return "tl." + entry }

// Log is what a timeline needs of the bus's log. Numbers rise along a subject, perhaps
// with holes, because the log's subjects share one count.
type Log interface {
	// Append adds data under subject when the subject's last record is expectLast (0: the
	// subject is empty) and returns the new record's number. Otherwise it returns an error
	// that wraps ErrConflict, except when a record with the same id stands there already:
	// then it returns that one's number.
	Append(ctx context.Context, subject, id string, data []byte, expectLast uint64) (uint64, error)
	// Last returns the number of the subject's last kept record, 0 when it is empty.
	Last(ctx context.Context, subject string) (uint64, error)
	// Follow reads the subject's records numbered from and up, and then those to come.
	Follow(ctx context.Context, subject string, from uint64) (LogFollower, error)
}

// LogFollower reads one subject in order. It is not safe for concurrent use.
type LogFollower interface {
	// Next returns the next record and waits for it if need be.
	Next(ctx context.Context) (seq uint64, data []byte, err error)
	Close()
}

// ErrConflict is what a Log returns when a subject's last record is not the expected one.
var ErrConflict = errors.New("timeline: the log has another last record")

// ErrFenced is returned to a writer when an owner with a higher epoch has claimed the
// timeline. The writer must stop; it changes nothing any more.
var ErrFenced = errors.New("timeline: another owner has claimed this entry")

// FencedError is [ErrFenced] with the owner whose claim it was.
type FencedError struct {
	Entry    string
	Epoch    uint64 // of the writer that must stop
	ByEpoch  uint64
	ByWorker string
}

// Error implements error.
func (e *FencedError) Error() string {
	return fmt.Sprintf("entry %s, epoch %d: %v (epoch %d, %s)", e.Entry, e.Epoch, ErrFenced, e.ByEpoch, e.ByWorker)
}

// Unwrap makes errors.Is find ErrFenced.
func (e *FencedError) Unwrap() error { return ErrFenced }

// ErrNoTimeline is returned when an entry has no timeline in the store.
var ErrNoTimeline = errors.New("timeline: nothing is stored of this entry")
