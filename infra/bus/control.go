package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// MaxValueBytes bounds a bucket's value and a log's record.
	MaxValueBytes = 1 << 20

	connectTimeout = 5 * time.Second
	requestTimeout = 5 * time.Second
	healthTimeout  = 2 * time.Second
	reconnectWait  = 250 * time.Millisecond
	pingInterval   = 5 * time.Second
)

// ConnectConfig is what [Connect] needs.
type ConnectConfig struct {
	// URL is one or more comma-separated addresses, nats://user:password@host:4222.
	URL string
	// Name names this process to the server.
	Name string
	// Replicas is how many servers hold each bucket and log, 1, 3 or 5; 0 means 1.
	Replicas int
	// Dial replaces the dialer; nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger takes what happens to the connection; nil drops it.
	Logger *slog.Logger
}

// Control is a connection to the control plane. All methods are safe for
// concurrent use. It reconnects by itself, for as long as it takes; calls made
// meanwhile fail with [ErrUnavailable].
type Control struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	memory   bool // keep everything in memory
	log      *slog.Logger
	healthy  func() error

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// mu guards the fields below.
	mu     sync.Mutex
	closed bool
	owned  sync.WaitGroup // the goroutines of watchers, followers, leases and subscriptions
}

// Connect connects to an external NATS server or cluster with JetStream.
func Connect(ctx context.Context, c ConnectConfig) (*Control, error) {
	if c.URL == "" {
		return nil, fmt.Errorf("%w: no bus address: set bus.url, for example nats://127.0.0.1:4222", ErrInvalid)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setup := controlSetup{name: c.Name, url: c.URL, replicas: max(1, c.Replicas), log: c.Logger}
	if c.Dial != nil {
		setup.options = append(setup.options, nats.SetCustomDialer(dialer{c.Dial}))
	}
	return connect(ctx, setup)
}

// dialer fits a dial function to the client library, which knows no context.
type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

type controlSetup struct {
	name, url string
	replicas  int
	memory    bool
	log       *slog.Logger
	options   []nats.Option
	healthy   func() error
}

func connect(ctx context.Context, s controlSetup) (*Control, error) {
	c := &Control{replicas: s.replicas, memory: s.memory, log: s.log, healthy: s.healthy}
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	var err error
	c.nc, err = nats.Connect(s.url, append([]nats.Option{
		nats.Name(s.name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectBufSize(-1), // a late notice or beat is worse than none
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.log.Warn("bus: connection lost, connecting again", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { s.log.Info("bus: connected again", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.log.Warn("bus: " + err.Error()) }),
	}, s.options...)...)
	if err != nil {
		return nil, busError("connect", err)
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		c.nc.Close()
		return nil, busError("connect", err)
	}
	asking, done := bounded(ctx)
	defer done()
	if _, err = c.js.AccountInfo(asking); err != nil {
		c.nc.Close()
		return nil, busError("connect: ask for JetStream", err)
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c, nil
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
	_, err := c.js.AccountInfo(ctx)
	return busError("ask for the account's state", err)
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
