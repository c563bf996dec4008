package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	connectTimeout = 5 * time.Second
	reconnectWait  = 250 * time.Millisecond
	// pingInterval and maxPings are how a dead server is noticed that sends no
	// reset: after three times the interval.
	pingInterval = 2 * time.Second
	maxPings     = 2
	// remoteBeat is Control.beat towards a cluster, where a consumer may go with
	// its server.
	remoteBeat = time.Second

	// oldestServer is the first NATS release with all that is used: lifetimes of
	// single values, and markers when they end.
	oldestMajor, oldestMinor = 2, 11
)

// TLSFiles names PEM files.
type TLSFiles struct {
	// CA signs the other side's certificate; empty means the system's roots.
	CA string
	// Cert and Key are the own certificate; both or none. They are read again for
	// each connection.
	Cert, Key string
}

// ConnectConfig is what [Connect] needs.
type ConnectConfig struct {
	// URL is one or more comma-separated addresses of one cluster,
	// nats://host:4222 or tls://host:4222. They are tried in random order, so that
	// clients spread over the servers; the cluster's other servers are learned from
	// the first one reached.
	URL string
	// Name names this process to the server.
	Name string
	// User and Password, or Credentials, a NATS credentials file, are how to log in.
	User, Password string
	Credentials    string
	// TLS encrypts when a file is named, as does a tls:// address.
	TLS TLSFiles
	// Replicas is how many servers hold each bucket and log, 1, 3 or 5; 0 means 1. What has
	// more copies keeps them.
	Replicas int
	// Dial replaces the dialer; nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger takes what happens to the connection; nil drops it.
	Logger *slog.Logger
}

// Connect connects to an external NATS server or cluster with JetStream. It
// returns [ErrUnavailable] when none answers, [ErrDenied] when it is not let in,
// and [ErrInvalid] for settings or files that cannot work.
func Connect(ctx context.Context, c ConnectConfig) (*Control, error) {
	if c.URL == "" {
		return nil, fmt.Errorf("%w: no bus address: set bus.url, for example nats://127.0.0.1:4222", ErrInvalid)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	options, err := c.security()
	if err != nil {
		return nil, err
	}
	d := &dialer{dial: c.Dial, first: ctx}
	if d.dial == nil {
		d.dial = (&net.Dialer{}).DialContext
	}
	defer d.connected()
	control, err := connect(ctx, controlSetup{name: c.Name, url: c.URL, replicas: max(1, c.Replicas), beat: remoteBeat, log: c.Logger,
		options: append(options, nats.SetCustomDialer(d), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings))})
	if failed := d.why(); failed != nil && errors.Is(err, nats.ErrNoServers) {
		return nil, connectError(failed) // the library tells only that it found no server
	}
	return control, err
}

// security turns the settings into the client library's, and looks at the files
// first: the library's own errors do not say which setting named them.
func (c *ConnectConfig) security() (options []nats.Option, err error) {
	if c.Credentials != "" {
		if c.User != "" || c.Password != "" {
			return nil, fmt.Errorf("%w: bus.credentials and bus.user are both set: keep one of them", ErrInvalid)
		}
		if err := readable("bus.credentials", c.Credentials); err != nil {
			return nil, err
		}
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.User != "" || c.Password != "" {
		if c.User == "" || c.Password == "" {
			return nil, fmt.Errorf("%w: bus.user and bus.password belong together: set both or none", ErrInvalid)
		}
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	if c.TLS.Cert != "" || c.TLS.Key != "" {
		if _, err := c.TLS.certificate(); err != nil {
			return nil, err
		}
		options = append(options, nats.ClientCert(c.TLS.Cert, c.TLS.Key))
	}
	if c.TLS.CA != "" {
		if _, err := c.TLS.roots(); err != nil {
			return nil, err
		}
		options = append(options, nats.RootCAs(c.TLS.CA))
	}
	return options, nil
}

func readable(key, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, key, err)
	}
	return f.Close()
}

func (t TLSFiles) certificate() (tls.Certificate, error) {
	if t.Cert == "" || t.Key == "" {
		return tls.Certificate{}, fmt.Errorf("%w: bus.tls.cert and bus.tls.key belong together: set both or none", ErrInvalid)
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return cert, fmt.Errorf("%w: bus.tls.cert and bus.tls.key: %w", ErrInvalid, err)
	}
	return cert, nil
}

// roots reads the CA file; nil stands for the system's.
func (t TLSFiles) roots() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: bus.tls.ca: %w", ErrInvalid, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: bus.tls.ca: %s holds no PEM certificate", ErrInvalid, t.CA)
	}
	return pool, nil
}

// dialer fits a dial function to the client library, which knows no context. The
// first connection is given up when the caller of Connect gives up.
type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	// mu guards the fields below.
	mu    sync.Mutex
	first context.Context
	last  error // why the last attempt failed
}

// Dial is called by the client library.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx := d.first
	d.mu.Unlock()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := d.dial(ctx, network, address)
	d.mu.Lock()
	d.last = err
	d.mu.Unlock()
	return conn, err
}

func (d *dialer) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

func (d *dialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.first = nil
}

type controlSetup struct {
	name, url string
	replicas  int
	memory    bool
	beat      time.Duration
	log       *slog.Logger
	options   []nats.Option
	healthy   func() error
}

func connect(ctx context.Context, s controlSetup) (*Control, error) {
	c, err := dialIn(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dialIn connects to a server whatever it can do.
func dialIn(ctx context.Context, s controlSetup) (*Control, error) {
	c := &Control{link: make(chan struct{}), streams: map[string]opened{}, incomplete: map[string]struct{}{}, raising: map[string]int{}, replicas: s.replicas, memory: s.memory, beat: s.beat, log: s.log, healthy: s.healthy}
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
		nats.IgnoreAuthErrorAbort(), // a password that is changed on the servers first must not end this process
		nats.ReconnectBufSize(-1),   // a late notice or beat is worse than none
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.unlinked()
			if err != nil {
				s.log.Warn("bus: connection lost, connecting again", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { s.log.Debug("bus: not connected yet", "error", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			s.log.Info("bus: connected again", "server", nc.ConnectedServerName())
			c.relinked()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.log.Warn(describe(err)) }),
	}, s.options...)...)
	if err != nil {
		return nil, connectError(err)
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		c.nc.Close()
		return nil, busError("connect", err)
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c, nil
}

// greet finds out whether the server can do what is needed.
func (c *Control) greet(ctx context.Context) error {
	if version := c.nc.ConnectedServerVersion(); tooOld(version) {
		return fmt.Errorf("%w: the NATS server at %s is release %s: klive needs %d.%d or later",
			ErrInvalid, c.nc.ConnectedUrlRedacted(), version, oldestMajor, oldestMinor)
	}
	ctx, done := bounded(ctx)
	defer done()
	_, err := c.js.AccountInfo(ctx)
	return busError("connect: ask for JetStream", err)
}

func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor)
}

// connectError sorts what may go wrong while connecting. All of it may end by
// itself, or by somebody's work on the servers.
func connectError(err error) error {
	var alert tls.AlertError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: connect: %w: is bus.tls.ca the authority of the servers' certificate, and does it name the host in bus.url?", ErrDenied, err)
	case errors.As(err, &alert):
		return fmt.Errorf("%w: connect: %w: the server refuses this process's certificate: check bus.tls.cert and bus.tls.key", ErrDenied, err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w: connect: the server does not encrypt: use nats:// in bus.url and no bus.tls, or give the server a certificate", ErrDenied)
	case errors.Is(err, nats.ErrSecureConnRequired):
		return fmt.Errorf("%w: connect: the server wants encryption: use tls:// in bus.url", ErrDenied)
	}
	if wrapped := busError("connect", err); errors.Is(wrapped, ErrUnavailable) || errors.Is(wrapped, ErrDenied) {
		return wrapped
	}
	return fmt.Errorf("%w: connect: %w: check bus.url, and that the bus runs (most of its nodes, when it is a cluster)", ErrUnavailable, err)
}

// describe puts an error that the server reports out of turn into words.
func describe(err error) string {
	if advice, _ := classify(err); advice != "" {
		return "bus: " + err.Error() + ": " + advice
	}
	return "bus: " + err.Error()
}
