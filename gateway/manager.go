package gateway

import (
	"context"
	"errors"
)

// Permit is an accepted connect: leave to publish streams of one entry. It comes from
// [Gateway.Connect] and goes into [Gateway.Publish], any number of times.
type Permit struct {
	connect Connect
}

// Entry is the entry that the permit is for.
func (p *Permit) Entry() string { return p.connect.Params.Entry }

// Config is what a Gateway is made of.
type Config struct{}

// Gateway admits encoders and holds their publications. All methods are safe for
// concurrent use.
type Gateway struct{ cfg Config }

// New returns a gateway that is ready for connects.
func New(cfg Config) (*Gateway, error) { return &Gateway{cfg: cfg}, nil }

var errNotReady = errors.New("gateway: not ready")

// Connect asks Kaltura whether the encoder may publish the entry. The error is a *Refusal.
func (g *Gateway) Connect(_ context.Context, c Connect) (*Permit, error) {
	return nil, &Refusal{Reason: ReasonNotReady, Text: "this server is starting", Err: errNotReady}
}

// Publish puts a stream of the permitted entry on the air. The error is a *Refusal.
func (g *Gateway) Publish(_ context.Context, p *Permit, pub Publish) (Publication, error) {
	return nil, &Refusal{Reason: ReasonNotReady, Text: "this server is starting", Err: errNotReady}
}

// Close ends every publication in order and returns when their last parts are on the bus,
// or when ctx ends.
func (g *Gateway) Close(ctx context.Context) error { return nil }
