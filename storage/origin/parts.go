package origin

import (
	"context"
	"errors"

	"klive/infra/bus"
	"klive/infra/live"
)

// partReader reads parts that are on the bus from the number next on. Since they are there,
// one that does not come soon is asked for anew.
type partReader struct {
	bus      Media
	subject  string
	next     uint64
	follower bus.Follower // nil before the first, and after one that was silent
}

// read returns the next part, with its number.
func (r *partReader) read(ctx context.Context) (uint64, *live.Part, error) {
	for {
		msg, err := r.try(ctx)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			r.close()
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		part, ok := any(msg.Body).(*live.Part)
		if !ok {
			return 0, nil, errors.New("a message on the bus is no part; do all nodes run the same release?")
		}
		r.next = msg.Seq + 1
		return msg.Seq, part, nil
	}
}

// try asks once.
func (r *partReader) try(ctx context.Context) (bus.Message, error) {
	if r.follower == nil {
		open, cancel := context.WithTimeout(ctx, followTry)
		defer cancel()
		f, err := r.bus.Follow(open, r.subject, r.next)
		if err != nil {
			return bus.Message{}, err
		}
		r.follower = f
	}
	ctx, cancel := context.WithTimeout(ctx, partTry)
	defer cancel()
	return r.follower.Next(ctx)
}

func (r *partReader) close() {
	if r.follower != nil {
		r.follower.Close()
		r.follower = nil
	}
}
