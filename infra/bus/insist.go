package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// insistTry bounds one attempt of a request, insistPause is the wait after one that
	// failed because there was no leader.
	insistTry   = time.Second
	insistPause = 50 * time.Millisecond

	// headerWrite names a write, so that it is known again when its answer was lost.
	headerWrite = "Klive-Write"
)

// insist makes a request until it is answered, ctx ends or trying again is of no use. What
// is sent while a stream has no leader is never answered, so attempts are short: the next
// leader gets the request within one of them. f must be such that a repeat does no harm.
func (c *Control) insist(ctx context.Context, f func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, insistTry)
		err := f(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || !electing(err) || !c.nc.IsConnected() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(insistPause):
		}
	}
}

// electing says whether an error may come of a stream that has no leader.
func electing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == codeTemporary || api.ErrorCode == codeInProcess) {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// condition is that a subject's last message is number last (0: that it has none). read finds that
// message, nil or [ErrNotFound] when there is none.
type condition struct {
	last uint64
	read func(context.Context) (*jetstream.RawStreamMsg, error)
}

// publish stores a message in a stream, however often it must be sent. when may be nil.
func (c *Control) publish(ctx context.Context, m *nats.Msg, name, id string, when *condition, opts ...jetstream.PublishOpt) (uint64, error) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(name, id)
	// The library's own repeats take half a second.
	opts = append(opts, jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(insistPause))
	if when != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(when.last))
	}
	var seq uint64
	err := c.insist(ctx, func(ctx context.Context) error {
		ack, err := c.js.PublishMsg(ctx, m, opts...)
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	if _, sentinel := classify(err); sentinel != ErrConflict || when == nil {
		return seq, err
	}
	// The server looks at the condition before it looks whether it knows the message: it may be this
	// message itself that has made it false.
	if raw := when.found(ctx); raw != nil && raw.Header.Get(name) == id {
		return raw.Sequence, nil
	}
	return 0, err
}

// behindTries is how often it is read anew what a server that is behind has answered.
const behindTries = 20

// found is the message by which the condition was false; nil when that can't be read. A server that is
// behind answers as if it were true, or with what was there before.
func (w *condition) found(ctx context.Context) *jetstream.RawStreamMsg {
	for range behindTries {
		raw, err := w.read(ctx)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil
		}
		if raw == nil && w.last > 0 || raw != nil && raw.Sequence > w.last {
			return raw
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(insistPause):
		}
	}
	return nil
}
