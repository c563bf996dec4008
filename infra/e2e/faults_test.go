package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"klive/infra/kaltura"
)

// gate is what a node's connections go through. Shut, it is as if the process were gone: nobody
// hears of it any more.
type gate struct {
	mu    sync.Mutex // guards the fields below
	conns []net.Conn
	shut  bool
}

// through makes connections that end when the gate is shut.
func (g *gate) through(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if g.isShut() {
			return nil, net.ErrClosed
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut {
			c.Close()
			return nil, net.ErrClosed
		}
		g.conns = append(g.conns, c)
		return c, nil
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for _, c := range g.conns {
			c.Close()
		}
		g.conns = nil
	}
}

// apiFaults are what is wrong with Kaltura's API.
type apiFaults struct {
	mu      sync.Mutex // guards the fields below
	away    time.Time  // till when nobody answers
	refused map[string]string
}

var errAway = errors.New("no route to host")

func (f *apiFaults) leave(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = time.Now().Add(d)
}

func (f *apiFaults) refuse(action, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused == nil {
		f.refused = map[string]string{}
	}
	f.refused[strings.ToLower(action)] = code
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// before stands between a node's client and the network.
func (f *apiFaults) before(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		f.mu.Lock()
		away := time.Now().Before(f.away)
		f.mu.Unlock()
		if away {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, errAway
		}
		return next.RoundTrip(r)
	})
}

// refusing stands before the API.
func (f *apiFaults) refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		code := f.refused[strings.ToLower(r.URL.Query().Get("action"))]
		f.mu.Unlock()
		if code == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write((&kaltura.APIError{Code: code, Message: "no"}).Node().AppendJSON(nil))
	})
}
