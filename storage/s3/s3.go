// Package s3 keeps objects in a bucket that speaks Amazon's S3 protocol, behind the same port
// and conformance suite as disk.
//
// Every call is repeated by this package's own policy (retry.go). A conditional write carries a
// write id in the object's metadata, so a repeat that runs into its own first attempt, whose
// answer was lost, knows that (put.go). The store must honour If-None-Match and If-Match;
// [Store.Check] refuses one that does not.
package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
)

// Config says which bucket, and how patient the store is with it.
type Config struct {
	// URL is s3://bucket/prefix?region=…&endpoint=…&pathStyle=…; see parseURL.
	URL string
	// Timeout is for one attempt of a call (5 s when 0), and for each wait for the next bytes
	// of a body. Attempts that carry a body get a second more for each 4 MiB.
	Timeout time.Duration
	// Deadline is for a call with its repeats (15 s when 0).
	Deadline time.Duration
	// Encryption is asked for with each write: "" or "none" leaves it to the bucket, "AES256"
	// and "aws:kms" are S3's own names. KMSKey is the key of the latter, "" the account's.
	Encryption, KMSKey string
	// Credentials are those of the AWS tools (environment, profile, role) when nil.
	Credentials aws.CredentialsProvider
	Logger      *slog.Logger          // nil discards
	Registerer  prometheus.Registerer // nil: metrics are counted but not shown
	// HTTPClient is what the requests go through; nil makes one of the store's own.
	HTTPClient *http.Client
}

// maxRedirects is how often a request is sent on, as S3 does for new buckets.
const maxRedirects = 3

// Store is a bucket, or what lies under a prefix of one. It implements [storage.Store] and
// [storage.Uploader].
type Store struct {
	cfg     Config
	at      place
	region  string
	client  *s3.Client
	http    *http.Client
	metrics metrics
	// foreign makes sure that keys that aren't ours are told of once.
	foreign sync.Once
}

// Open returns the store. It reads the AWS configuration of the host and sends nothing to the
// bucket; [Store.Check] does.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	at, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, at: at, metrics: newMetrics(cfg.Registerer)}
	options := []func(*config.LoadOptions) error{config.WithAppID("klive"), config.WithLogger(logging.Nop{})}
	if at.region != "" {
		options = append(options, config.WithRegion(at.region))
	}
	if cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("storage: s3: the AWS configuration of this host (AWS_… in the environment, ~/.aws) can't be used: %w", err)
	}
	if s.region = loaded.Region; s.region == "" {
		if at.endpoint == "" {
			return nil, fmt.Errorf("storage: s3: no region for the bucket %s: add ?region=… to storage.url or set AWS_REGION", at.bucket)
		}
		s.region = "us-east-1" // what stores that have no regions expect
	}
	if s.http = cfg.HTTPClient; s.http == nil {
		s.http = newHTTPClient(loaded.HTTPClient)
	}
	s.client = s3.NewFromConfig(loaded, s.options)
	return s, nil
}

// complete fills in defaults and checks the encryption.
func (c *Config) complete() error {
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Deadline <= 0 {
		c.Deadline = 15 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch c.Encryption {
	case "none":
		c.Encryption = ""
	case "", string(types.ServerSideEncryptionAes256), string(types.ServerSideEncryptionAwsKms):
	default:
		return fmt.Errorf("storage: s3: unknown encryption %.40q (storage.encryption); want none, AES256 or aws:kms", c.Encryption)
	}
	if c.KMSKey != "" && c.Encryption != string(types.ServerSideEncryptionAwsKms) {
		return errors.New("storage: s3: a KMS key is given but storage.encryption is not aws:kms")
	}
	return nil
}

func (s *Store) options(o *s3.Options) {
	o.Region, o.UsePathStyle = s.region, s.at.pathStyle
	if s.at.endpoint != "" {
		o.BaseEndpoint = aws.String(s.at.endpoint)
	}
	o.HTTPClient = bounded{s.http}
	o.Retryer = aws.NopRetryer{} // this package repeats
	o.DisableLogOutputChecksumValidationSkipped = true
}

// newHTTPClient returns a client for one host and many calls at once, with the authorities
// (AWS_CA_BUNDLE) of the loaded one. It follows no redirect that would change the method: S3
// answers 301 for a bucket of another region.
func newHTTPClient(loaded aws.HTTPClient) *http.Client {
	built, ok := loaded.(*awshttp.BuildableClient)
	if !ok {
		built = awshttp.NewBuildableClient()
	}
	tr := built.GetTransport()
	tr.DialContext = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	tr.MaxIdleConns, tr.MaxIdleConnsPerHost, tr.MaxConnsPerHost = 256, 256, 0
	tr.IdleConnTimeout, tr.TLSHandshakeTimeout = 15*time.Second, 5*time.Second
	tr.WriteBufferSize, tr.ReadBufferSize = 64<<10, 64<<10
	return &http.Client{Transport: tr, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch r.Response.StatusCode {
		case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			if len(via) < maxRedirects {
				return nil
			}
		}
		return http.ErrUseLastResponse
	}}
}

// maxAnswer bounds in bytes what is read of answers that are not objects. The longest is a page
// of 1000 keys.
const maxAnswer = 8 << 20

// bounded is a client that cuts answers off that are too long, except for objects, which the
// caller of Get reads as they come.
type bounded struct{ client *http.Client }

// Do implements the SDK's HTTPClient.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	object := r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && resp.StatusCode < 300
	if !object {
		resp.Body = limitedBody{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// Close gives the idle connections back. No call may be under way.
func (s *Store) Close() {
	if s.cfg.HTTPClient == nil {
		s.http.CloseIdleConnections()
	}
}

// String names the bucket, for logs.
func (s *Store) String() string { return s.at.String() }

// object returns the key in the bucket.
func (s *Store) object(key string) *string { return aws.String(s.at.prefix + key) }

func (s *Store) bucket() *string { return aws.String(s.at.bucket) }

// writeID returns the name of one write.
func writeID() string { return rand.Text() }

// optional is for request fields that are left out when empty.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// checked refuses malformed keys and contexts that have ended.
func checked(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := storage.CheckKey(key); err != nil {
			return err
		}
	}
	return ctx.Err()
}
