package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
)

// Gateway is what the package needs of the gateway core; *gateway.Gateway is one. Errors
// are *gateway.Refusal.
type Gateway interface {
	// Connect asks whether the encoder may publish an entry.
	Connect(context.Context, gateway.Connect) (*gateway.Permit, error)
	// Publish puts a stream on the air.
	Publish(context.Context, *gateway.Permit, gateway.Publish) (gateway.Publication, error)
}

// Config is what a Server is made of. Zero limits and deadlines take their defaults.
type Config struct {
	// Listener takes RTMP; nil when it is off.
	Listener net.Listener
	// TLSListener takes RTMPS, with TLS below it; nil when it is off.
	TLSListener net.Listener
	// TLS is needed for TLSListener.
	TLS *tls.Config

	Gateway Gateway
	// App is the application name that encoders must use; "kLive" when empty.
	App string

	Limits    Limits
	Deadlines Deadlines

	// Logger hears of refusals, of each host and fault once a minute; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// Limits bound what peers can take.
type Limits struct {
	// MaxConnections is counted over both listeners; 1000 by default.
	MaxConnections int
	// MaxMessageSize is in bytes; 8 MiB by default.
	MaxMessageSize int
	// MaxChunkStreams is per connection; 64 by default.
	MaxChunkStreams int
	// MaxMemoryPerConnection bounds the incomplete messages of a connection in bytes;
	// 16 MiB by default.
	MaxMemoryPerConnection int
	// MaxAMFDepth is how deep objects may nest; 16 by default.
	MaxAMFDepth int
}

// Deadlines bound how long peers can take.
type Deadlines struct {
	// Handshake is the time from accept to the end of the handshake, TLS included; 10 s.
	Handshake time.Duration
	// Publish is the time from the handshake to connect, from connect to publish, and
	// from one publish to the next; 10 s.
	Publish time.Duration
	// Idle is the time without a byte from a publisher; 30 s.
	Idle time.Duration
	// Write is the time for one message to go out; 10 s.
	Write time.Duration
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// complete checks the configuration and fills the defaults in.
func (c *Config) complete() error {
	switch {
	case c.Listener == nil && c.TLSListener == nil:
		return errors.New("rtmp: no listener; give Listener, TLSListener or both")
	case c.TLSListener != nil && c.TLS == nil:
		return errors.New("rtmp: TLSListener needs TLS with a certificate")
	case c.Gateway == nil:
		return errors.New("rtmp: no gateway")
	}
	if c.App == "" {
		c.App = "kLive"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.Limits.MaxConnections, 1000)
	orDefault(&c.Limits.MaxMessageSize, 8<<20)
	orDefault(&c.Limits.MaxChunkStreams, 64)
	orDefault(&c.Limits.MaxMemoryPerConnection, 16<<20)
	orDefault(&c.Limits.MaxAMFDepth, 16)
	orDefault(&c.Deadlines.Handshake, 10*time.Second)
	orDefault(&c.Deadlines.Publish, 10*time.Second)
	orDefault(&c.Deadlines.Idle, 30*time.Second)
	orDefault(&c.Deadlines.Write, 10*time.Second)
	l, d := c.Limits, c.Deadlines
	if l.MaxConnections < 0 || l.MaxMessageSize < 0 || l.MaxChunkStreams < 0 || l.MaxMemoryPerConnection < 0 || l.MaxAMFDepth < 0 ||
		d.Handshake < 0 || d.Publish < 0 || d.Idle < 0 || d.Write < 0 {
		return fmt.Errorf("rtmp: limits and deadlines must not be negative: %+v, %+v", l, d)
	}
	return nil
}
