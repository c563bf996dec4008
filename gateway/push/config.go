package push

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/bus"
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
	// Away reports whether another gateway holds the feed, or is about to.
	Away(*http.Request, live.FeedID) bool
	// Claim has the feed begin here, unless another gateway was faster: then it is false.
	Claim(context.Context, *http.Request, live.FeedID) bool
	// Keep has a feed go on to begin here whose first media don't come yet; false as above.
	Keep(context.Context, live.FeedID) bool
	// HeldElsewhere reports whether another gateway holds the feed already.
	HeldElsewhere(*http.Request, live.FeedID) bool
	// Forward answers with what that gateway says.
	Forward(http.ResponseWriter, *http.Request, live.FeedID)
}

// Config is what a Handler is made of. Zero limits and times take the defaults in brackets.
type Config struct {
	Gateway Gateway
	// Elsewhere is nil where there is one gateway.
	Elsewhere Elsewhere
	// Partner tells whose an entry is, for addresses that name no partner; nil refuses those.
	Partner func(ctx context.Context, entry string) (int, error)
	// Sections is the bucket of initialization sections, [live.SectionsBucket]. Without it packagers
	// that send theirs once begin anew after a restart.
	Sections *bus.Bucket
	// MaxRequests are those under way at a time (1000).
	MaxRequests int
	// Idle bounds the silence of a body, and the time between the requests of a feed (30 s).
	Idle time.Duration
	// Admission bounds the time to decide on a feed (10 s).
	Admission time.Duration
	// Publish bounds the time from the beginning of an endless body to its first access unit
	// (10 s). A segment has Idle for it.
	Publish time.Duration
	// Turn is how long a transport stream waits for the one before it to end (3 s).
	Turn time.Duration
	// Logger hears of refusals, of each host and fault once a minute; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// complete checks the configuration and fills the defaults in.
func (c *Config) complete() error {
	if c.Gateway == nil {
		return errors.New("push: no gateway")
	}
	if c.MaxRequests < 0 || c.Idle < 0 || c.Admission < 0 || c.Publish < 0 || c.Turn < 0 {
		return errors.New("push: limits and times must not be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxRequests, 1000)
	orDefault(&c.Idle, 30*time.Second)
	orDefault(&c.Admission, 10*time.Second)
	orDefault(&c.Publish, 10*time.Second)
	orDefault(&c.Turn, 3*time.Second)
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
