package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"klive/storage"
)

// op is an operation of the store: its name in logs and metrics, and the permission in a
// policy that it takes.
type op struct{ name, permission string }

var (
	opPut      = op{"put", "s3:PutObject"}
	opHead     = op{"head", "s3:GetObject"}
	opGet      = op{"get", "s3:GetObject"}
	opList     = op{"list", "s3:ListBucket"}
	opDelete   = op{"delete", "s3:DeleteObject"}
	opBegin    = op{"begin", "s3:PutObject"}
	opPart     = op{"part", "s3:PutObject"}
	opComplete = op{"complete", "s3:PutObject"}
	opAbort    = op{"abort", "s3:AbortMultipartUpload"}
)

// Error codes that decide something.
const (
	codeNoKey    = "NoSuchKey"
	codeNoBucket = "NoSuchBucket"
	codeNoUpload = "NoSuchUpload"
	codeFailed   = "PreconditionFailed"
	codeConflict = "ConditionalRequestConflict"
	codeRange    = "InvalidRange"
)

// isFull recognises a store without room; the codes are those of stores other than Amazon's,
// which never fills up.
func isFull(code string, status int) bool {
	switch code {
	case "QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "NoSpaceLeft":
		return true
	}
	return status == 507
}

// isCondition recognises the answer to a conditional write whose condition may not hold.
func isCondition(err error) bool {
	code, status := answer(err)
	return code == codeFailed || code == codeConflict || status == 409 || status == 412
}

// isNoBucket tells a missing bucket from a missing object.
func isNoBucket(err error) bool {
	code, _ := answer(err)
	return code == codeNoBucket
}

// isMissing recognises the answer for a key without an object.
func isMissing(err error) bool {
	code, status := answer(err)
	return code == codeNoKey || status == 404 && !isNoBucket(err) && code != codeNoUpload
}

// explain gives an SDK error the sentinels of package storage, and words that say what to do.
func (s *Store) explain(c call, err error) error {
	var explained *failure
	if errors.As(err, &explained) {
		return err
	}
	for _, known := range []error{storage.ErrPrecondition, storage.ErrNotFound, storage.ErrRange, errAgain} {
		if errors.Is(err, known) {
			return fmt.Errorf("storage: s3: %s %s: %w", c.op.name, c.key, err)
		}
	}
	code, status := answer(err)
	switch {
	case isFull(code, status):
		return fmt.Errorf("%w: the bucket %s takes no more; make room or raise its quota (%s)", storage.ErrFull, s.at, said(err))
	case isNoBucket(err):
		return s.fail(c, err, fmt.Sprintf("there is no bucket %s: make it, or correct storage.url", s.at.bucket))
	case isMissing(err):
		return fmt.Errorf("%s: %w", c.key, storage.ErrNotFound)
	case code == codeRange || status == 416:
		return fmt.Errorf("%s: %w", c.key, storage.ErrRange)
	}
	return s.fail(c, err, s.advice(c, err, code, status))
}

// fail makes the error of a call. The SDK's own text stays out but for code and message, which
// hold no secrets.
func (s *Store) fail(c call, err error, advice string) error {
	where := strings.TrimSpace(c.op.name + " " + c.key)
	if advice == "" {
		return &failure{text: fmt.Sprintf("storage: s3: %s: %s", where, said(err)), err: err}
	}
	return &failure{text: fmt.Sprintf("storage: s3: %s: %s (%s)", where, advice, said(err)), err: err}
}

// failure is an error with our words that still is the SDK's for errors.Is and errors.As.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.err }

// regionInText finds the right region in the message of AuthorizationHeaderMalformed.
var regionInText = regexp.MustCompile(`expecting ['"]([a-z0-9-]{1,40})['"]`)

// advice says what to do about an error.
func (s *Store) advice(c call, err error, code string, status int) string {
	switch code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired", "XAmzContentSHA256Mismatch":
		return "the store does not accept the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the host's role"
	case "RequestTimeTooSkewed":
		return "this host's clock is off: set it (NTP)"
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return s.wrongRegion(err)
	case "MethodNotAllowed":
		return "the bucket does not take this: is it read-only, or storage.url's endpoint no S3?"
	}
	switch {
	case strings.HasPrefix(code, "KMS."), strings.Contains(said(err), "kms:"):
		return fmt.Sprintf("the KMS key can't be used: check storage.kmsKey (%q) and that the role may do kms:GenerateDataKey and kms:Decrypt", s.cfg.KMSKey)
	case status == 301:
		return s.wrongRegion(err)
	case status == 403, code == "AccessDenied", code == "AllAccessDisabled":
		return fmt.Sprintf("not allowed: the credentials need %s on %s%s", c.op.permission, s.at, hint(c.op))
	case status == 501:
		return "the store does not know this request; it must have S3's conditional writes, checksums and, for recordings, multipart uploads"
	case status != 0:
		return ""
	}
	return s.unreachable(err)
}

// hint says what else a refusal may mean.
func hint(o op) string {
	switch o {
	case opPut, opBegin, opPart, opComplete, opDelete:
		return ", and the bucket must not be read-only"
	case opGet, opHead:
		return ", and s3:ListBucket, without which a missing object looks like a forbidden one"
	}
	return ""
}

// wrongRegion names the region in which the bucket is, if the answer told it.
func (s *Store) wrongRegion(err error) string {
	right := ""
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		right = response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	if m := regionInText.FindStringSubmatch(err.Error()); right == "" && m != nil {
		right = m[1]
	}
	if right == "" || right == s.region {
		return fmt.Sprintf("the bucket %s is not in the region %s, or its name is not one: correct region= in storage.url", s.at.bucket, s.region)
	}
	return fmt.Sprintf("the bucket %s is in the region %s, not in %s: set region=%s in storage.url", s.at.bucket, right, s.region, right)
}

// unreachable is the advice for attempts that got no answer.
func (s *Store) unreachable(err error) string {
	var dns *net.DNSError
	switch {
	case isCertificate(err):
		return "the server's certificate is not trusted: correct storage.url's endpoint or install the authority's certificate"
	case isCredentials(err):
		return "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or give the host a role"
	case errors.As(err, &dns):
		return fmt.Sprintf("the host %s of the bucket is not found: check storage.url and the name service", dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the store did not answer in time (storage.timeout %v)", s.cfg.Timeout)
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		return "the store can't be reached: is it running, is storage.url's endpoint right?"
	}
	return ""
}

// isCredentials recognises that none of the places for credentials had any.
func isCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get credentials") || strings.Contains(text, "refresh cached credentials")
}

// said is what the store, or else the network, said.
func said(err error) string {
	var api smithy.APIError
	code, status := answer(err)
	if errors.As(err, &api) && api.ErrorMessage() != "" {
		return fmt.Sprintf("%s: %.300s", code, api.ErrorMessage())
	}
	if status != 0 {
		return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", status, code))
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		err = send.Err
	}
	return fmt.Sprintf("%.300s", err.Error())
}
