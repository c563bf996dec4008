package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"klive/infra/telemetry"
)

// refused logs and counts a refusal. Errors that are none are made one.
func (g *Gateway) refused(log *slog.Logger, peer, what string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Reason: ReasonNotReady, Text: "this server can't take a stream now; try again in a moment", Err: err}
	}
	g.metrics.refused(r.Reason)
	args, key := []any{"reason", r.Reason, "text", r.Text}, what+" "+r.Text
	if r.Err != nil {
		args, key = append(args, "cause", r.Err), key+" "+r.Err.Error()
	}
	level, repeats := Loudness(&g.told, peer, key)
	log.Log(context.Background(), level, what, append(args, repeats...)...)
	r.Told = true
	return r
}

// Loudness is how loud the log is told of a refusal. Encoders try again at once and for ever: what is said to a peer's
// host is a warning once a minute, with how often it was said meanwhile, and a detail otherwise.
func Loudness(told *telemetry.Throttle, peer, what string) (level slog.Level, repeats []any) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	held, ok := told.Pass(host + " " + what)
	if !ok {
		return slog.LevelDebug, nil
	}
	if held > 0 {
		repeats = []any{"repeats", held}
	}
	return slog.LevelWarn, repeats
}
