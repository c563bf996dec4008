package kaltura_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/kaltura"
)

// breakerRig is a client whose API answers as mode says.
type breakerRig struct {
	*kaltura.Client
	t        *testing.T
	log      bytes.Buffer
	registry *prometheus.Registry
	made     int // requests
	answer   func() (*http.Response, error)
}

func newBreakerRig(t *testing.T) *breakerRig {
	r := &breakerRig{t: t, registry: prometheus.NewPedanticRegistry()}
	r.Client = client(t, roundTrip(func(q *http.Request) (*http.Response, error) {
		r.made++
		return r.answer()
	}), func(c *kaltura.ClientConfig) {
		c.Breaker = kaltura.Breaker{Failures: 3, Pause: 10 * time.Second}
		c.Logger, c.Registerer = slog.New(slog.NewTextHandler(&r.log, nil)), r.registry
	})
	return r
}

// call makes one that is never repeated, and returns how many requests were made for it.
func (r *breakerRig) call() (int, error) {
	before := r.made
	err := r.LiveStreamDelete(r.t.Context(), 102, "0_rkij47dr")
	return r.made - before, err
}

func fine() (*http.Response, error) { return reply(200, "application/json", "null"), nil }
func away() (*http.Response, error) {
	return nil, &net.OpError{Op: "read", Err: errors.New("connection reset")}
}

// expect makes calls that must all go out, or all be refused.
func (r *breakerRig) expect(what string, calls int, refused bool) {
	r.t.Helper()
	for range calls {
		n, err := r.call()
		if errors.Is(err, kaltura.ErrRefused) != refused || (n == 0) != refused {
			r.t.Errorf("%s: %d requests, %v", what, n, err)
		}
		if err != nil && !kaltura.Unavailable(err) && !kaltura.IsAPIError(err) {
			r.t.Errorf("%s: %v is not told from an answer", what, err)
		}
	}
}

// An API that is away is left alone, tried once after the pause, and used again when that works.
func TestBreakerOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBreakerRig(t)
		r.answer = away
		r.expect("closed", 2, false)
		r.answer = fine
		r.expect("an answer between", 1, false)
		r.answer = away
		r.expect("closed", 3, false)
		r.expect("open", 5, true)
		if n := strings.Count(r.log.String(), "has not answered several calls in a row"); n != 1 {
			t.Errorf("%d lines of it in the log:\n%s", n, r.log.String())
		}
		time.Sleep(10 * time.Second)
		r.expect("half-open, still away", 1, false)
		r.expect("open again", 5, true)
		time.Sleep(10 * time.Second)
		r.answer = fine
		r.expect("half-open, back", 1, false)
		r.expect("closed", 5, false)
		if !strings.Contains(r.log.String(), "answers again") {
			t.Errorf("the log says %s", r.log.String())
		}
	})
}

// While one call tries, the others are refused; when its caller goes away, the next one tries.
func TestBreakerLetsOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBreakerRig(t)
		r.answer = away
		r.expect("closed", 3, false)
		time.Sleep(10 * time.Second)
		tried := make(chan *http.Response)
		r.answer = func() (*http.Response, error) {
			if res := <-tried; res != nil {
				return res, nil
			}
			return nil, context.Canceled
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- r.LiveStreamDelete(ctx, 102, "0_rkij47dr") }()
		synctest.Wait()
		r.expect("while one tries", 3, true)
		cancel()
		tried <- nil
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that went away: %v", err)
		}
		go func() { tried <- reply(200, "application/json", "null") }()
		r.expect("the next one tries", 1, false)
		r.answer = fine
		r.expect("closed", 3, false)
	})
}

// What is an answer does not open it: errors of the API, and broken answers to single calls.
func TestBreakerMindsOutagesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		answer func() (*http.Response, error)
		opens  bool
	}{
		"error code": {func() (*http.Response, error) {
			return reply(200, "application/json", `{"code":"ENTRY_ID_NOT_FOUND","message":"no"}`), nil
		}, false},
		"its own trouble": {func() (*http.Response, error) {
			return reply(200, "application/json", `{"code":"INTERNAL_SERVERL_ERROR","message":"no"}`), nil
		}, false},
		"broken answer":    {func() (*http.Response, error) { return reply(200, "application/json", `{"id`), nil }, false},
		"status 502":       {func() (*http.Response, error) { return reply(502, "text/html", "bad gateway"), nil }, true},
		"redirect":         {func() (*http.Response, error) { return reply(302, "text/html", ""), nil }, true},
		"connection reset": {away, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newBreakerRig(t)
			r.answer = c.answer
			r.expect(name, 3, false)
			r.expect(name+", the fourth", 1, c.opens)
			if !c.opens {
				r.expect(name+", and more", 10, false)
			}
		})
	}
}

// A caller that waits less than the client would have counts its call as unanswered; one that
// goes away does not.
func TestBreakerAndCallers(t *testing.T) {
	for name, c := range map[string]struct {
		limit func(context.Context) (context.Context, context.CancelFunc)
		opens bool
	}{
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, true},
		"gone": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newBreakerRig(t)
			for range 3 {
				ctx, cancel := c.limit(t.Context())
				r.answer = func() (*http.Response, error) { <-ctx.Done(); return nil, ctx.Err() }
				if err := r.LiveStreamDelete(ctx, 102, "0_rkij47dr"); err == nil {
					t.Errorf("%s: an answer", name)
				}
				cancel()
			}
			r.answer = fine
			r.expect(name, 1, c.opens)
		})
	}
}

// Whether it is open is a metric, and so is each refused call.
func TestBreakerMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBreakerRig(t)
		r.answer = away
		r.expect("closed", 3, false)
		r.expect("open", 2, true)
		if got := gauge(t, r.registry, "klive_kaltura_circuit_open"); got != 1 {
			t.Errorf("open: %v", got)
		}
		if got := counts(t, r.registry)["liveStream.delete refused"]; got != 2 {
			t.Errorf("%v refused calls were counted", got)
		}
		time.Sleep(10 * time.Second)
		r.answer = fine
		r.expect("half-open", 1, false)
		if got := gauge(t, r.registry, "klive_kaltura_circuit_open"); got != 0 {
			t.Errorf("closed: %v", got)
		}
	})
}

// Without it every call goes out.
func TestBreakerOff(t *testing.T) {
	made := 0
	c := client(t, roundTrip(func(*http.Request) (*http.Response, error) { made++; return away() }), func(c *kaltura.ClientConfig) {
		c.Breaker.Failures = -1
	})
	for range 20 {
		if err := c.LiveStreamDelete(t.Context(), 102, "0_x"); errors.Is(err, kaltura.ErrRefused) {
			t.Fatal(err)
		}
	}
	if made != 20 {
		t.Errorf("%d requests", made)
	}
}
