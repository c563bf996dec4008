package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// slowest is the rate in bytes/s to which an attempt's time is stretched for its body.
	slowest = 4 << 20
)

// errAttempt is the cause when an attempt has used its time up.
var errAttempt = fmt.Errorf("no answer within storage.timeout: %w", context.DeadlineExceeded)

// errAgain is returned by an attempt that must be made again though the store's answer
// alone would not say so.
var errAgain = errors.New("a conflicting write was under way")

// call is one operation on the store, with the size of its body in bytes.
type call struct {
	op   op
	key  string
	size int64
}

// do makes the attempts of a call until one succeeds or fails for good, or the deadline is
// over. Its error is in the words of package storage. attempt gets the context of the whole
// call and bounds its own time with [Store.once].
func (s *Store) do(ctx context.Context, c call, attempt func(context.Context) error) error {
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.cfg.Deadline+stretch(c.size))
	defer cancel()
	err := s.repeat(ctx, limited, c, attempt)
	s.metrics.note(c.op.name, time.Since(begin), err)
	return err
}

// repeat is the loop of do; limited is ctx with the deadline.
func (s *Store) repeat(ctx, limited context.Context, c call, attempt func(context.Context) error) error {
	begin, pause := time.Now(), firstPause
	for tries := 1; ; tries++ {
		err := attempt(limited)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("storage: s3: %s %s: %w", c.op.name, c.key, ctx.Err())
		}
		reason := repeatable(err)
		if reason == "" {
			return s.explain(c, err)
		}
		// Half of the pause is chance, so that writers that failed together part.
		wait := pause/2 + rand.N(pause/2)
		if end, _ := limited.Deadline(); limited.Err() != nil || time.Until(end) <= wait {
			return fmt.Errorf("%w; gave up after %d attempts in %v", s.explain(c, err), tries, time.Since(begin).Round(time.Millisecond))
		}
		s.metrics.repeats.WithLabelValues(c.op.name, reason).Inc()
		s.cfg.Logger.Debug("s3: an attempt is repeated", "op", c.op.name, "key", c.key, "attempt", tries, "reason", reason, "pause", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// once bounds the time of one attempt.
func (s *Store) once(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout+stretch(size), errAttempt)
}

// stretch is the time that a body of this many bytes adds.
func stretch(size int64) time.Duration {
	return time.Duration(float64(size) / slowest * float64(time.Second))
}

// transient are S3's error codes that are worth another attempt, besides those that come
// with a 5xx status.
var transient = map[string]bool{
	"SlowDown": true, "RequestTimeout": true, "RequestTimeTooSkewed": true, "Throttling": true, "ThrottlingException": true,
	"RequestLimitExceeded": true, "BandwidthLimitExceeded": true, "TooManyRequests": true, "InternalError": true,
	"ServiceUnavailable": true,
	// The body was damaged on its way.
	"BadDigest": true, "IncompleteBody": true, "XAmzContentChecksumMismatch": true,
}

// repeatable returns a word for why another attempt may help, or "" when it can't.
func repeatable(err error) string {
	if errors.Is(err, errAgain) {
		return "conflict"
	}
	code, status := answer(err)
	switch {
	case isFull(code, status), status == 501, status == 505:
		return ""
	case code == "SlowDown" || status == 429 || status == 503:
		return "slowdown"
	case status >= 500:
		return "server"
	case status == 409: // another write or delete of the object was under way
		return "conflict"
	case transient[code], status == 408:
		return "transient"
	case status >= 300:
		return ""
	}
	return unanswered(err)
}

// unanswered is repeatable for attempts without an answer, or with one that broke off.
func unanswered(err error) string {
	var send *smithyhttp.RequestSendError
	var broken *smithy.DeserializationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case isCertificate(err):
		return ""
	case errors.As(err, &send):
		return "connection"
	case errors.As(err, &broken), errors.Is(err, io.ErrUnexpectedEOF):
		return "broken"
	}
	return ""
}

// isCertificate tells of a server whose certificate is not trusted: a setting, not a fault.
func isCertificate(err error) bool {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &verify)
}

// answer returns the code and the HTTP status of the store's answer, if there was one.
func answer(err error) (code string, status int) {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return code, status
}
