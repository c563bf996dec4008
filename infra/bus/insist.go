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

// publish stores a message in a stream, however often it must be sent. opts may hold a
// condition on the subject's last message: last then finds that, to tell a condition that
// this message itself has made false from one that was false before.
func (c *Control) publish(ctx context.Context, m *nats.Msg, name, id string, last func(context.Context) (*jetstream.RawStreamMsg, error), opts ...jetstream.PublishOpt) (uint64, error) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(name, id)
	// The library's own repeats take half a second.
	opts = append(opts, jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(insistPause))
	var seq uint64
	err := c.insist(ctx, func(ctx context.Context) error {
		ack, err := c.js.PublishMsg(ctx, m, opts...)
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	if _, sentinel := classify(err); sentinel != ErrConflict {
		return seq, err
	}
	// The server looks at the condition before it looks whether it knows the message.
	if raw, lastErr := last(ctx); lastErr == nil && raw != nil && raw.Header.Get(name) == id {
		return raw.Sequence, nil
	}
	return 0, err
}
