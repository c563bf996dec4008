package kaltura

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrRefused is why a call was not even made: the API has given no proper answer several times
// in a row, and is left alone for a moment. [Unavailable] holds for it as well.
var ErrRefused = errors.New("the call was not made, because Kaltura's API has not answered several in a row; it is asked again soon")

// RefusedError is an [ErrRefused] with the call that was not made.
type RefusedError struct {
	// Call is service.action.
	Call string
	// Retry is how long calls are still refused; 0 while one is out to try.
	Retry time.Duration
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %v (%v)", e.Call, ErrRefused, e.Retry.Round(time.Millisecond))
}

// Is makes a RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Breaker says when calls are refused for a while instead of made.
type Breaker struct {
	// Failures is how many calls in a row may go without a proper answer; default 5, less than
	// 0 never refuses.
	Failures int
	// Pause is how long calls are refused then, before one may try; default 10 s.
	Pause time.Duration
}

// breaker keeps a client from waiting, call by call, for an API that is away. It is closed
// while calls go through, open while they are refused, and half-open while one of them, let
// through after the pause, decides which of both it will be.
type breaker struct {
	most  int // failures in a row; 0 is for ever closed
	pause time.Duration
	log   *slog.Logger
	open  prometheus.Gauge

	// mu guards the fields below.
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // calls are refused; zero while closed
	trying   bool      // half-open: one call is out
}

func newBreaker(b Breaker, log *slog.Logger) *breaker {
	if b.Failures == 0 {
		b.Failures = 5
	}
	if b.Pause <= 0 {
		b.Pause = 10 * time.Second
	}
	return &breaker{most: max(0, b.Failures), pause: b.Pause, log: log, open: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "klive_kaltura_circuit_open", Help: "1 while calls of the Kaltura API are refused because it has not answered several in a row.",
	})}
}

// pass lets a call through, or returns a [RefusedError]. try says that the call decides for
// those after it; whoever got it calls done.
func (b *breaker) pass(call string) (try bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch left := time.Until(b.until); {
	case b.until.IsZero():
		return false, nil
	case left > 0:
		return false, &RefusedError{Call: call, Retry: left}
	case b.trying:
		return false, &RefusedError{Call: call}
	}
	b.trying = true
	return true, nil
}

// done takes a call's outcome in. Only calls that nobody answered, or that ended at something in
// front of the API, are failures: a broken answer came at least, and may be that call's own. One
// whose caller went away (abandoned) says nothing.
func (b *breaker) done(try, abandoned bool, err error) {
	if b.most == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if try {
		b.trying = false
	}
	var answer *AnswerError
	switch {
	case err == nil || IsAPIError(err):
		if !b.until.IsZero() {
			b.log.Info("Kaltura's API answers again")
		}
		b.failures, b.until = 0, time.Time{}
		b.open.Set(0)
	case abandoned || !Unavailable(err) || errors.As(err, &answer) && answer.Status == http.StatusOK:
	case b.until.IsZero():
		if b.failures++; b.failures < b.most {
			return
		}
		b.log.Error("Kaltura's API has not answered several calls in a row; it is asked once in a while until it does. Streams on the air go on, new ones are not let in",
			"calls", b.failures, "every", b.pause, "error", err)
		b.until = time.Now().Add(b.pause)
		b.open.Set(1)
	case try:
		b.until = time.Now().Add(b.pause)
	}
}
