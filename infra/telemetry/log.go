package telemetry

import (
	"fmt"
	"io"
	"log/slog"
)

// LogConfig says how a logger writes.
type LogConfig struct {
	// Format is "text" for people or "json" for machines.
	Format string
	// Level is the least important level that is written; it may change while the logger is
	// in use. Nil means info.
	Level slog.Leveler
}

// NewLogger returns a logger that writes one record a line to w and hides the secrets in
// messages and attributes. A warning or error that comes again within ten seconds is counted
// instead of written.
func NewLogger(w io.Writer, c LogConfig) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: c.Level, ReplaceAttr: redactAttr}
	switch c.Format {
	case "text":
		return slog.New(newPaced(slog.NewTextHandler(w, o))), nil
	case "json":
		return slog.New(newPaced(slog.NewJSONHandler(w, o))), nil
	default:
		return nil, fmt.Errorf("log format %q: want text or json", c.Format)
	}
}

// ParseLevel reads "debug", "info", "warn" or "error".
func ParseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("log level %q: want debug, info, warn or error", s)
	}
	return l, nil
}
