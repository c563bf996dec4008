package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// reachTry bounds one question to a consumer, reachPause is the wait after one that
	// nobody took, reachMost bounds all: by then another consumer is better.
	reachTry   = 250 * time.Millisecond
	reachPause = 5 * time.Millisecond
	reachMost  = time.Second
)

// reach waits until a consumer that was just made can be asked for messages. In a cluster
// the word that it exists takes another way than the word where it listens, and may come
// first; the client library does not notice that nobody took its question for messages
// before two heartbeats have failed to come. The question that is asked here is one that
// every consumer refuses, so it takes no message.
func (c *Control) reach(ctx context.Context, cons jetstream.Consumer) error {
	info := cons.CachedInfo()
	if info == nil {
		return nil
	}
	subject := fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", info.Stream, info.Name)
	ctx, cancel := context.WithTimeout(ctx, reachMost)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, reachTry)
		_, err := c.nc.RequestWithContext(try, subject, []byte(`{"batch":1,"idle_heartbeat":2,"expires":1}`))
		cancel()
		if err == nil {
			return nil
		}
		if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(reachPause):
		}
	}
}
