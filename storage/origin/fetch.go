package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	wait    time.Duration // how long the store has to open an object before the bus is asked too
	rebuild *rebuilder    // nil without a bus
}

// patience is how many times that wait a viewer's question may take, whoever answers it.
const patience = 10

// get opens a media object, within the time that a viewer waits. The error wraps
// storage.ErrNotFound or errAway, or is the store's.
func (f *fetcher) get(ctx context.Context, a mediaAddress) (*opened, error) {
	until := time.Now().Add(patience * f.wait)
	if f.rebuild == nil {
		return f.stored(ctx, a, until)
	}
	if m := f.rebuild.cached(a.key); m != nil {
		return m.open(), nil
	}
	store := f.ask(ctx, a, until)
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	select {
	case <-store.done:
		if store.err == nil || ctx.Err() != nil {
			return store.opened, store.err
		}
	case <-timer.C:
	}
	making, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	m, made := f.makeUnlessStored(making, a, store)
	if made == nil {
		store.giveUp()
		return m.open(), nil
	}
	<-store.done // what can't be made is better late than never
	err := store.err
	if err == nil || ctx.Err() != nil {
		return store.opened, err
	}
	if errors.Is(err, storage.ErrNotFound) && (errors.Is(made, storage.ErrNotFound) || errors.Is(made, errStored)) {
		return nil, err
	}
	return nil, fmt.Errorf("%w (store: %v; bus: %v)", errAway, err, made)
}

// makeUnlessStored makes an object from the bus, and stops when the store has it.
func (f *fetcher) makeUnlessStored(ctx context.Context, a mediaAddress, store *asked) (*made, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-store.done:
			if store.err == nil {
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-ended }()
	return f.rebuild.get(ctx, a)
}

// asked is a question to the store that runs beside others.
type asked struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the rest is set
	opened *opened
	err    error
}

// ask begins to open an object in the store.
func (f *fetcher) ask(ctx context.Context, a mediaAddress, until time.Time) *asked {
	// The body is read with this context: it ends by giveUp, or with the viewer's question.
	ctx, cancel := context.WithCancel(ctx)
	q := &asked{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.opened, q.err = f.stored(ctx, a, until)
	}()
	return q
}

// giveUp drops the question, and waits until that is done.
func (q *asked) giveUp() {
	q.cancel()
	<-q.done
	if q.err == nil {
		q.opened.body.Close()
	}
}

// stored opens a media object in the store.
func (f *fetcher) stored(ctx context.Context, a mediaAddress, until time.Time) (*opened, error) {
	body, info, err := storage.GetWithin(ctx, f.store, a.key, nil, time.Until(until))
	if err != nil {
		return nil, err
	}
	return &opened{info: info, body: body, part: func(ctx context.Context, r storage.Range) (io.ReadCloser, error) {
		body, _, err := storage.GetWithin(ctx, f.store, a.key, &r, max(f.wait, time.Until(until)))
		return body, err
	}}, nil
}

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
