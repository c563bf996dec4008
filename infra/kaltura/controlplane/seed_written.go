package controlplane

import (
	"context"
	"errors"
	"time"

	"klive/infra/bus"
)

const (
	// writtenMost is how long what was just written may not be found, writtenPause the wait
	// between two looks.
	writtenMost  = 10 * time.Second
	writtenPause = 100 * time.Millisecond
)

// written does what needs what was written a moment ago, and does it again while that is not
// found: reads on a cluster lag behind writes, and most on one that has just begun.
func written(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writtenMost)
	defer cancel()
	for {
		err := f(ctx)
		if !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(writtenPause):
		}
	}
}
