package whip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/live"
)

// Gateway is what the package needs of the gateway core; *gateway.Gateway is one. Errors
// are *gateway.Refusal.
type Gateway interface {
	// Connect asks whether the encoder may publish an entry.
	Connect(context.Context, gateway.Connect) (*gateway.Permit, error)
	// Publish puts a stream on the air.
	Publish(context.Context, *gateway.Permit, gateway.Publish) (gateway.Publication, error)
}

// Elsewhere takes requests to the gateway that holds their feed; *gateway.Forwarder is one.
type Elsewhere interface {
	// HeldElsewhere reports whether another gateway holds the feed.
	HeldElsewhere(*http.Request, live.FeedID) bool
	// Forward answers with what that gateway says.
	Forward(http.ResponseWriter, *http.Request, live.FeedID)
}

// Config is what a Server is made of. Zero limits and times take the defaults in brackets.
type Config struct {
	Gateway Gateway
	// Elsewhere is nil where there is one gateway.
	Elsewhere Elsewhere
	// Partner tells whose an entry is, for addresses that name no partner; nil refuses those.
	Partner func(ctx context.Context, entry string) (int, error)

	// UDP and TCP carry the media of all sessions; TCP may be nil. The server closes them.
	UDP net.PacketConn
	TCP net.Listener
	// PublicAddresses are those that peers reach the sockets by, instead of the hosts' own:
	// one IPv4, one IPv6 address at most. None means the own ones.
	PublicAddresses []net.IP
	// Loopback offers the loopback addresses as well.
	Loopback bool
	// Lite leaves the connectivity checks to the peers (RFC 8445 §2.5).
	Lite bool
	// ICEServers are told to the peers.
	ICEServers []ICEServer

	// MaxSessions are those at a time (500).
	MaxSessions int
	// MaxOffer bounds a request's body in bytes (64 KiB).
	MaxOffer int
	// Admission bounds the time to decide on an offer (10 s).
	Admission time.Duration
	// Publish bounds the time from the answer to the first access unit (15 s).
	Publish time.Duration
	// Idle bounds the silence of a publisher (30 s).
	Idle time.Duration
	// Keyframe is how long after a keyframe the next one is asked for (2 s).
	Keyframe time.Duration
	// Latency is how long a missing packet is waited for (500 ms).
	Latency time.Duration

	// Logger hears of refusals, of each host and fault once a minute; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// ICEServer is a STUN or TURN server for the peers (RFC 9725 §4.6).
type ICEServer struct {
	// URL is stun:host:port, turn:host:port or turns:host:port.
	URL string
	// Username and Credential are for TURN.
	Username, Credential string
}

// complete checks the configuration and fills the defaults in.
func (c *Config) complete() error {
	if c.Gateway == nil || c.UDP == nil {
		return errors.New("whip: Gateway and UDP are required")
	}
	if c.MaxSessions < 0 || c.MaxOffer < 0 || c.Admission < 0 || c.Publish < 0 || c.Idle < 0 || c.Keyframe < 0 || c.Latency < 0 {
		return errors.New("whip: limits and times must not be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxSessions, 500)
	orDefault(&c.MaxOffer, 64<<10)
	orDefault(&c.Admission, 10*time.Second)
	orDefault(&c.Publish, 15*time.Second)
	orDefault(&c.Idle, 30*time.Second)
	orDefault(&c.Keyframe, 2*time.Second)
	orDefault(&c.Latency, 500*time.Millisecond)
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
