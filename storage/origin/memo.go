package origin

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// memo makes objects each once, however many ask, a few at a time, and keeps those that were
// used last.
type memo struct {
	timeout time.Duration
	results *prometheus.CounterVec
	turns   chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	under map[string]*making
	kept  kept
}

func newMemo(atOnce int, max int64, timeout time.Duration, results *prometheus.CounterVec) *memo {
	return &memo{
		timeout: timeout, results: results, turns: make(chan struct{}, atOnce),
		under: map[string]*making{}, kept: newKept(max),
	}
}

// errBrokenOff is for those who waited for an object whose making panicked.
var errBrokenOff = errors.New("the object could not be made; the log has the reason")

// get returns the object of a key, which f makes. Others wait for it, so it does not end with
// the patience of the one who asked first.
func (m *memo) get(ctx context.Context, key string, f func(context.Context) (*made, error)) (*made, error) {
	m.mu.Lock()
	if o := m.kept.get(key); o != nil {
		m.mu.Unlock()
		m.results.WithLabelValues("cached").Inc()
		return o, nil
	}
	u := m.under[key]
	first := u == nil
	if first {
		u = &making{done: make(chan struct{})}
		m.under[key] = u
	}
	m.mu.Unlock()
	if first {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timeout)
		defer cancel()
		m.run(bound, key, u, f)
	}
	select {
	case <-u.done:
		return u.made, u.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memo) run(ctx context.Context, key string, u *making, f func(context.Context) (*made, error)) {
	u.err = errBrokenOff
	defer m.settle(key, u) // a panic of f ends its request alone: the server recovers
	select {
	case m.turns <- struct{}{}:
		defer func() { <-m.turns }()
		u.made, u.err = f(ctx)
	case <-ctx.Done():
		u.err = ctx.Err()
	}
}

// settle tells everybody who waits what became of an object.
func (m *memo) settle(key string, u *making) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.under, key)
	result := "failed"
	if u.err == nil {
		result = "made"
		m.kept.put(key, u.made)
	}
	m.results.WithLabelValues(result).Inc()
	close(u.done)
}
