package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"klive/storage"
)

// errAway is returned for media that the store can't give at this moment and that can't be
// made from the bus either.
var errAway = errors.New("origin: the store does not answer, and the bus has no parts to make the media from; try again")

// opened is a media object that can be sent.
type opened struct {
	info storage.Info
	body io.ReadCloser
	// part opens a range of it.
	part func(ctx context.Context, r storage.Range) (io.ReadCloser, error)
}

// fetcher finds media: made before and still in memory, in the store (behind which a spool
// may stand), or made from the parts on the bus.
type fetcher struct {
	store   storage.Store
	wait    time.Duration // how long the store has to open an object
	rebuild *rebuilder    // nil without a bus
	// slowAt is when the store last let somebody wait for nothing, in ns; 0 once it answered.
	slowAt atomic.Int64
}

// slowFor is how long a store that did not answer is given little time.
const slowFor = 5 * time.Second

// get opens a media object. The error wraps storage.ErrNotFound or errAway, or is the store's.
func (f *fetcher) get(ctx context.Context, a mediaAddress) (*opened, error) {
	if f.rebuild != nil {
		if m := f.rebuild.cached(a.key); m != nil {
			return m.open(), nil
		}
	}
	body, info, err := f.open(ctx, a.key, nil)
	if err == nil {
		return &opened{info: info, body: body, part: func(ctx context.Context, r storage.Range) (io.ReadCloser, error) {
			body, _, err := f.open(ctx, a.key, &r)
			return body, err
		}}, nil
	}
	if ctx.Err() != nil || f.rebuild == nil || errors.Is(err, storage.ErrKey) {
		return nil, err
	}
	m, made := f.rebuild.get(ctx, a)
	switch {
	case made == nil:
		return m.open(), nil
	case errors.Is(err, storage.ErrNotFound) && (errors.Is(made, storage.ErrNotFound) || errors.Is(made, errStored)):
		return nil, err
	}
	return nil, fmt.Errorf("%w (store: %v; bus: %v)", errAway, err, made)
}

// open opens an object in the store within a bounded time. The body may take longer.
func (f *fetcher) open(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	wait := f.wait
	if at := f.slowAt.Load(); at != 0 && time.Since(time.Unix(0, at)) < slowFor {
		wait /= 10
	}
	try, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(wait, cancel)
	body, info, err := f.store.Get(try, key, r)
	inTime := timer.Stop()
	if inTime && ctx.Err() == nil {
		f.slowAt.Store(0)
	}
	if err == nil && inTime {
		return &cancelBody{body, cancel}, info, nil
	}
	cancel()
	if err == nil {
		body.Close()
		err = context.DeadlineExceeded
	}
	if !inTime && ctx.Err() == nil {
		f.slowAt.Store(time.Now().UnixNano())
		err = fmt.Errorf("the store did not answer within %v: %w", wait, err)
	}
	return nil, storage.Info{}, err
}

// cancelBody is a body whose context ends with it.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// WriteTo keeps the way open on which the kernel sends a file itself.
func (b *cancelBody) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, b.ReadCloser) }

// made is a media object that was made from the bus.
type made struct {
	info storage.Info
	data []byte
}

func (m *made) open() *opened {
	return &opened{info: m.info, body: io.NopCloser(bytes.NewReader(m.data)), part: func(_ context.Context, r storage.Range) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(bytes.NewReader(m.data), r.Offset, r.Length)), nil
	}}
}
