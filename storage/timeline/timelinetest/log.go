// Package timelinetest has a timeline log in memory, for tests of what stands on a timeline.
package timelinetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"klive/storage/timeline"
)

// Log is a [timeline.Log] in memory.
type Log struct {
	// Before, when set before the first call, runs ahead of each append, and After behind each
	// that was stored: an error becomes the call's. One from After is an answer that was lost.
	Before, After func(ctx context.Context, subject string, data []byte) error

	// mu guards the fields below.
	mu      sync.Mutex
	seq     uint64
	records []record      // by their numbers
	changed chan struct{} // closed at each append
	// ids and last find records by what appends ask for; some may be trimmed by now.
	ids  map[recordID]uint64
	last map[string]uint64
}

type recordID struct{ subject, id string }

type record struct {
	seq     uint64
	subject string
	data    []byte
}

var _ timeline.Log = (*Log)(nil)

// NewLog returns an empty log.
func NewLog() *Log {
	return &Log{changed: make(chan struct{}), ids: map[recordID]uint64{}, last: map[string]uint64{}}
}

// Append implements [timeline.Log].
func (l *Log) Append(ctx context.Context, subject, id string, data []byte, expectLast uint64) (uint64, error) {
	if l.Before != nil {
		if err := l.Before(ctx, subject, data); err != nil {
			return 0, err
		}
	}
	seq, err := l.append(subject, id, data, expectLast)
	if err == nil && l.After != nil {
		err = l.After(ctx, subject, data)
	}
	if err != nil {
		return 0, err
	}
	return seq, ctx.Err()
}

func (l *Log) append(subject, id string, data []byte, expectLast uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq := l.held(l.ids[recordID{subject, id}]); seq != 0 {
		return seq, nil
	}
	last := l.held(l.last[subject])
	if last != expectLast {
		return 0, fmt.Errorf("%w: last is %d, not %d", timeline.ErrConflict, last, expectLast)
	}
	l.seq++
	l.records = append(l.records, record{l.seq, subject, data})
	l.ids[recordID{subject, id}], l.last[subject] = l.seq, l.seq
	close(l.changed)
	l.changed = make(chan struct{})
	return l.seq, nil
}

// held is the number of a record that is still there, or 0.
func (l *Log) held(seq uint64) uint64 {
	if len(l.records) == 0 || seq < l.records[0].seq {
		return 0
	}
	return seq
}

// Last implements [timeline.Log].
func (l *Log) Last(ctx context.Context, subject string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held(l.last[subject]), ctx.Err()
}

// Follow implements [timeline.Log].
func (l *Log) Follow(_ context.Context, subject string, from uint64) (timeline.LogFollower, error) {
	return &follower{log: l, subject: subject, next: from}, nil
}

// Trim drops the records up to and including seq.
func (l *Log) Trim(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.records) > 0 && l.records[0].seq <= seq {
		l.records = l.records[1:]
	}
}

// Wipe empties the log and begins its numbers again.
func (l *Log) Wipe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records, l.seq = nil, 0
	clear(l.ids)
	clear(l.last)
}

// Count returns how many records there are.
func (l *Log) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

type follower struct {
	log     *Log
	subject string
	next    uint64
}

// Next implements [timeline.LogFollower].
func (f *follower) Next(ctx context.Context) (uint64, []byte, error) {
	for {
		seq, data, changed := f.read()
		if data != nil {
			f.next = seq + 1
			return seq, data, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

func (f *follower) read() (uint64, []byte, chan struct{}) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	from, _ := slices.BinarySearchFunc(f.log.records, f.next, func(r record, seq uint64) int { return cmp.Compare(r.seq, seq) })
	for _, r := range f.log.records[from:] {
		if r.subject == f.subject {
			return r.seq, r.data, nil
		}
	}
	return 0, nil, f.log.changed
}

// Close implements [timeline.LogFollower].
func (f *follower) Close() {}
