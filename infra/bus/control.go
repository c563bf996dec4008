package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// MaxValueBytes bounds a bucket's value and a log's record.
	MaxValueBytes = 1 << 20

	requestTimeout = 5 * time.Second
	healthTimeout  = 2 * time.Second
)

// Control is a connection to the control plane. All methods are safe for
// concurrent use. It reconnects by itself, for as long as it takes; calls made
// meanwhile fail with [ErrUnavailable].
type Control struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	memory   bool          // keep everything in memory
	beat     time.Duration // how often the server says that it still serves a watcher or follower
	log      *slog.Logger
	healthy  func() error

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// mu guards the fields below.
	mu           sync.Mutex
	closed       bool
	link         chan struct{}       // closed, and replaced, when the connection is made anew
	cutOff       bool                // the connection is lost and not made anew yet
	owned        sync.WaitGroup      // the goroutines of watchers, followers, leases and subscriptions
	streams      map[string]opened   // by name
	incomplete   map[string]struct{} // of streams, those with fewer copies than asked for
	completed    time.Time           // when they were last given the others
	short        time.Time           // since when servers have been missing for a new stream; zero while none are
	raising      map[string]int      // of streams that were asked to have more copies: how many they had, until the log says it
	toldReplicas bool                // the log has said that there are more copies than asked for
}

// Close ends the connection with all its watchers, followers, leases and
// subscriptions, and waits for them. Leases are not released: their holders do
// that first, or they expire.
func (c *Control) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.nc.Close()
	c.owned.Wait()
}

// Healthy says why the control plane cannot be used, nil if it can. It asks the
// server, for at most two seconds.
func (c *Control) Healthy() error {
	if status := c.nc.Status(); status != nats.CONNECTED {
		if status == nats.CLOSED {
			return ErrClosed
		}
		return fmt.Errorf("%w: the connection is %v", ErrUnavailable, status)
	}
	if c.healthy != nil {
		if err := c.healthy(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, healthTimeout)
	defer cancel()
	if err := c.nc.FlushWithContext(ctx); err != nil { // the server itself, which needs nobody to answer
		return busError("ask the server", err)
	}
	_, err := c.js.AccountInfo(ctx)
	return c.leaderError("ask for the account's state", err)
}

// Connected says whether there is a connection, whoever answers on it.
func (c *Control) Connected() bool { return c.nc.IsConnected() }

// linked returns what stands for the connection, and is closed when another one has been made, and
// whether the connection is there still. Other than [Control.Connected] it does not wait while one is made.
func (c *Control) linked() (link <-chan struct{}, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link, !c.cutOff
}

// unlinked notes that the connection is lost.
func (c *Control) unlinked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = true
}

// relinked tells those who wait that the connection has been made anew.
func (c *Control) relinked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.link)
	c.link, c.cutOff = make(chan struct{}), false
}

// leaderError is [busError] for what the cluster's leader is asked: no answer means [ErrElecting]
// where the server itself is reached.
func (c *Control) leaderError(doing string, err error) error {
	if electing(err) && c.nc.IsConnected() {
		return fmt.Errorf("%w: %w: %s: %w", ErrUnavailable, ErrElecting, doing, err)
	}
	return busError(doing, err)
}

// run starts a goroutine that Close waits for. It ends when the context does.
func (c *Control) run(f func(ctx context.Context)) (stop func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.owned.Go(func() {
		defer close(done)
		defer cancel()
		f(ctx)
	})
	return func() { cancel(); <-done }, nil
}

// bounded gives a request to the server its time limit.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTimeout)
}

// storage is where a bucket or log lives.
func (c *Control) storage(memory bool) jetstream.StorageType {
	if memory || c.memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}
