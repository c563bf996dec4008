package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// openTry bounds one attempt to make a stream. A cluster gives no answer to a request that
// races with another one to make the same stream, or does not find what it has just made.
// That happens whenever processes start together; a repeat finds it made.
const (
	openTry   = time.Second
	openPause = 50 * time.Millisecond
)

// open makes a stream, or finds it made, within the time of a request.
func open(ctx context.Context, create func(context.Context) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, openTry)
		err := create(try)
		cancel()
		if err == nil || !worthRepeating(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(openPause):
		}
	}
}

// worthRepeating reports whether an attempt may have met one of another process.
func worthRepeating(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse)
}
