package srt

import (
	"context"
	"errors"
	"log/slog"
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

// Config is what a Server is made of. Zero limits and times take the defaults in brackets.
type Config struct {
	// Addresses are the UDP listeners, "host:port" or ":port". One socket is read by one
	// goroutine: beyond about a hundred streams there should be several.
	Addresses []string
	Gateway   Gateway
	// Partner tells whose an entry is, for stream ids that name no partner; nil refuses those.
	Partner func(ctx context.Context, entry string) (int, error)
	// Latency is the least time there is for repeats; a caller may ask for more (120 ms).
	Latency time.Duration
	// Buffer is the receive buffer of each socket in bytes; the system may grant less (4 MiB).
	Buffer int
	// MaxConnections counts callers, those who wait for an answer included (500).
	MaxConnections int
	// Admission bounds the time to decide on a caller (10 s), Publish that from then to its
	// first access unit (10 s), Idle that without a byte (30 s), Peer that without any sign of
	// life, keep-alives included (5 s).
	Admission, Publish, Idle, Peer time.Duration
	// Logger hears of refusals, of each host and fault once a minute; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// complete checks the configuration and fills the defaults in.
func (c *Config) complete() error {
	switch {
	case len(c.Addresses) == 0:
		return errors.New("srt: no listener; give Addresses")
	case c.Gateway == nil:
		return errors.New("srt: no gateway")
	case c.Latency < 0 || c.Buffer < 0 || c.MaxConnections < 0 || c.Admission < 0 || c.Publish < 0 || c.Idle < 0 || c.Peer < 0:
		return errors.New("srt: limits and times must not be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.Latency, 120*time.Millisecond)
	orDefault(&c.Buffer, 4<<20)
	orDefault(&c.MaxConnections, 500)
	orDefault(&c.Admission, 10*time.Second)
	orDefault(&c.Publish, 10*time.Second)
	orDefault(&c.Idle, 30*time.Second)
	orDefault(&c.Peer, 5*time.Second)
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
