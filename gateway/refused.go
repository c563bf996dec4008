package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"klive/infra/telemetry"
)

// refused logs and counts a refusal. Errors that are none are made one.
func (g *Gateway) refused(log *slog.Logger, c *Connect, what string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Reason: ReasonNotReady, Text: "this server can't take a stream now; try again in a moment", Err: err}
	}
	g.metrics.refused(r.Reason)
	args, key := []any{"reason", r.Reason, "text", r.Text}, what+" "+r.Text
	if r.Err != nil {
		args, key = append(args, "cause", r.Err), key+" "+r.Err.Error()
	}
	level, repeats := g.told.Loudness(c.Protocol+" "+string(r.Reason), c.Peer, key)
	log.Log(context.Background(), level, what, append(args, repeats...)...)
	r.Told = true
	return r
}

// Refusals thins the log's lines of refusals: encoders try again at once and for ever. Each kind, such as a reason of a
// protocol, has a limiter of its own, so that a storm of one hides no other. The zero value is ready; it is safe for
// concurrent use.
type Refusals struct {
	mu    sync.Mutex // guards the field below
	kinds map[string]*telemetry.Throttle
}

// maxKinds bounds the kinds of refusals, of which a program has few. All others share one.
const maxKinds = 64

// Loudness is how loud the log is told of a refusal: what is said to a peer's host is a warning once a minute, with how
// often it was said meanwhile, and a detail otherwise.
func (r *Refusals) Loudness(kind, peer, what string) (level slog.Level, repeats []any) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	held, ok := r.of(kind).Pass(host + " " + what)
	if !ok {
		return slog.LevelDebug, nil
	}
	if held > 0 {
		repeats = []any{"repeats", held}
	}
	return slog.LevelWarn, repeats
}

// of is the limiter of a kind.
func (r *Refusals) of(kind string) *telemetry.Throttle {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kinds[kind] == nil && len(r.kinds) >= maxKinds {
		kind = ""
	}
	t := r.kinds[kind]
	if t == nil {
		if r.kinds == nil {
			r.kinds = map[string]*telemetry.Throttle{}
		}
		t = &telemetry.Throttle{}
		r.kinds[kind] = t
	}
	return t
}
