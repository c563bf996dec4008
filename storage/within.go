package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrSlow is returned when a store does not answer in the time that it had.
var ErrSlow = errors.New("storage: the store does not answer in time")

// GetWithin is [Store.Get] that returns within wait, with ErrSlow at the latest. The body may
// take longer to read: it ends with ctx, and with its Close.
func GetWithin(ctx context.Context, s Store, key string, r *Range, wait time.Duration) (io.ReadCloser, Info, error) {
	try, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(wait, cancel)
	body, info, err := s.Get(try, key, r)
	inTime := timer.Stop()
	if err == nil && inTime {
		return &bounded{body, cancel}, info, nil
	}
	cancel()
	if err == nil {
		body.Close()
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case !inTime:
		err = fmt.Errorf("%w (%v)", ErrSlow, wait)
	}
	return nil, Info{}, err
}

// bounded is a body whose context ends with it.
type bounded struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *bounded) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// WriteTo keeps the way open on which the kernel sends a file itself.
func (b *bounded) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, b.ReadCloser) }
