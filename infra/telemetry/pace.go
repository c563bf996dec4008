package telemetry

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// paceEvery is how often one and the same warning is written.
	paceEvery = 10 * time.Second
	// maxPaced bounds the warnings that are told apart.
	maxPaced = 1024
)

// paced keeps warnings and errors that come again and again from flooding the log: the first
// is written at once, then one each ten seconds, whose attribute "repeated" counts those that
// were left out before it. Two are the same when level, message and texts are: numbers, times,
// digits in errors and a peer's address don't count.
type paced struct {
	next  slog.Handler
	with  string // what With and WithGroup have added
	lines *pacedLines
}

// pacedLines is what the handlers of one logger share.
type pacedLines struct {
	seed maphash.Seed

	// mu guards the fields below.
	mu    sync.Mutex
	known map[uint64]*pacedLine
}

type pacedLine struct {
	written time.Time
	since   int // left out since then
}

func newPaced(next slog.Handler) *paced {
	return &paced{next: next, lines: &pacedLines{seed: maphash.MakeSeed(), known: map[uint64]*pacedLine{}}}
}

// Enabled implements [slog.Handler].
func (h *paced) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements [slog.Handler].
func (h *paced) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	var key strings.Builder
	key.WriteString(r.Level.String() + "\x00" + r.Message + "\x00" + h.with)
	r.Attrs(func(a slog.Attr) bool {
		key.WriteString(identity(a))
		return true
	})
	repeated, now := h.lines.pass(key.String(), time.Now())
	if !now {
		return nil
	}
	if repeated > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", repeated))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *paced) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h.with
	for _, a := range attrs {
		with += identity(a)
	}
	return &paced{next: h.next.WithAttrs(attrs), with: with, lines: h.lines}
}

// WithGroup implements [slog.Handler].
func (h *paced) WithGroup(name string) slog.Handler {
	return &paced{next: h.next.WithGroup(name), with: h.with + name + "\x00", lines: h.lines}
}

// identity is what of an attribute tells lines apart.
func identity(a slog.Attr) string {
	if a.Key == "peer" {
		return ""
	}
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindAny:
		if err, is := v.Any().(error); is {
			return a.Key + "=" + withoutDigits(err.Error()) + "\x00"
		}
	case slog.KindString, slog.KindBool, slog.KindGroup:
	default:
		return ""
	}
	return a.Key + "=" + v.String() + "\x00"
}

// withoutDigits is a text without what changes from one time to the next: ports, counts, dates.
func withoutDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// pass says whether a line is written now, and how often it was left out before.
func (p *pacedLines) pass(text string, now time.Time) (repeated int, write bool) {
	key := maphash.String(p.seed, text)
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.known[key]
	if line == nil {
		line = p.add(key, now)
	}
	if !line.written.IsZero() && now.Sub(line.written) < paceEvery {
		line.since++
		return 0, false
	}
	repeated = line.since
	line.written, line.since = now, 0
	return repeated, true
}

// add makes room for a line. When there is none, it shares a place with others. p.mu is held.
func (p *pacedLines) add(key uint64, now time.Time) *pacedLine {
	if len(p.known) >= maxPaced {
		for k, l := range p.known {
			if now.Sub(l.written) >= paceEvery {
				delete(p.known, k)
			}
		}
	}
	if len(p.known) >= maxPaced {
		key = 0
	}
	if p.known[key] == nil {
		p.known[key] = &pacedLine{}
	}
	return p.known[key]
}
