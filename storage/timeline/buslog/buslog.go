// Package buslog lets timelines stand in a log of the bus.
package buslog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"klive/infra/bus"
	"klive/storage/timeline"
)

// Keep is how long the log keeps records. Heads in the store are a few seconds old as a
// rule; this is how long the store may be down before an owner's death loses records, and how
// old an entry's first record may be for a new owner to begin without the store.
const Keep = 24 * time.Hour

// Open opens the bus's timeline log and makes it if need be.
func Open(ctx context.Context, control *bus.Control) (timeline.Log, error) {
	l, err := control.Log(ctx, bus.LogConfig{Name: timeline.LogName, MaxAge: Keep})
	if err != nil {
		return nil, err
	}
	return log{l}, nil
}

type log struct{ bus *bus.Log }

func (l log) Append(ctx context.Context, subject, id string, data []byte, expectLast uint64) (uint64, error) {
	seq, err := l.bus.Append(ctx, subject, id, data, expectLast)
	if errors.Is(err, bus.ErrConflict) {
		return 0, fmt.Errorf("%w: %w", timeline.ErrConflict, err)
	}
	return seq, err
}

func (l log) Last(ctx context.Context, subject string) (uint64, error) {
	return l.bus.LastSeq(ctx, subject)
}

func (l log) Follow(ctx context.Context, subject string, from uint64) (timeline.LogFollower, error) {
	f, err := l.bus.Follow(ctx, subject, from)
	if err != nil {
		return nil, err
	}
	return follower{f}, nil
}

type follower struct{ bus *bus.LogFollower }

func (f follower) Next(ctx context.Context) (uint64, []byte, error) {
	r, err := f.bus.Next(ctx)
	return r.Seq, r.Data, err
}

func (f follower) Close() { f.bus.Close() }
