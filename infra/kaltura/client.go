package kaltura

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ClientConfig is what [NewClient] needs. URL and AdminSecret have no default.
type ClientConfig struct {
	// URL is the API's address without /api_v3, e.g. https://www.kaltura.com.
	URL string
	// PartnerID signs the sessions; 0 is the media server partner -5, which acts for the
	// partner of every entry. A positive one acts for itself alone (eCDN).
	PartnerID   int
	AdminSecret string
	// Hostname names this deployment to the API; default the host's name.
	Hostname string
	// ClientTag defaults to MediaServer-<Hostname>.
	ClientTag string
	// Timeout bounds one call with its repetitions; default 30 s.
	Timeout time.Duration
	// MaxConnections are those of the default Transport at a time; default 64. A call waits for
	// one within its Timeout.
	MaxConnections int
	// Breaker says when calls are refused because the API does not answer.
	Breaker Breaker
	// ByProfile reads flavor params by their profile instead of one by one (contract row 39).
	// Kaltura does not let the media server partner do so.
	ByProfile bool
	// Transport carries the requests; default a pool of connections of its own.
	Transport http.RoundTripper
	// Logger defaults to silence, Registerer to no metrics, Tracer to no traces.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
}

// Client calls Kaltura's API as a media server does. It is safe for concurrent use.
type Client struct {
	base      string
	partner   int
	secret    string
	hostname  string
	clientTag string
	timeout   time.Duration
	byProfile bool
	http      *http.Client
	own       *http.Transport
	log       *slog.Logger
	metrics   *clientMetrics
	tracer    trace.Tracer
	breaker   *breaker
	refused   atomic.Bool // Kaltura's last word was that a new session is no good
	sessions  sessions
	params    paramsCache
}

// NewClient checks the configuration and signs a first session; it calls nobody.
func NewClient(config ClientConfig) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(config.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("kaltura.url must be an address such as https://www.kaltura.com")
	}
	if base.RawQuery != "" || base.Fragment != "" || base.User != nil || strings.Contains(base.Path, "/api_v3") {
		return nil, errors.New("kaltura.url must be the address in front of /api_v3, without user, query or fragment")
	}
	if config.AdminSecret == "" {
		return nil, errors.New("kaltura: an admin secret is needed to sign sessions")
	}
	c := &Client{base: base.String(), partner: config.PartnerID, secret: config.AdminSecret, hostname: config.Hostname,
		clientTag: config.ClientTag, timeout: config.Timeout, byProfile: config.ByProfile, log: config.Logger, tracer: config.Tracer, params: paramsCache{byID: map[int]cachedParams{}}}
	if c.partner == 0 {
		c.partner = MediaServerPartner
	}
	if c.hostname == "" {
		if c.hostname, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("kaltura: the host has no name, set one: %w", err)
		}
	}
	if c.clientTag == "" {
		c.clientTag = "MediaServer-" + c.hostname
	}
	if c.timeout <= 0 {
		c.timeout = 30 * time.Second
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.tracer == nil {
		c.tracer = noop.NewTracerProvider().Tracer("")
	}
	c.setTransport(config.Transport, config.MaxConnections)
	c.breaker = newBreaker(config.Breaker, c.log)
	if c.metrics, err = newClientMetrics(config.Registerer, c.breaker.open); err != nil {
		return nil, err
	}
	if _, err := c.ks(""); err != nil {
		return nil, err
	}
	return c, nil
}

// setTransport takes the transport, or makes one whose connections are bounded: as many encoders
// may come at once as a gateway takes, and each asks whether it may publish.
func (c *Client) setTransport(rt http.RoundTripper, connections int) {
	if connections <= 0 {
		connections = 64
	}
	if rt == nil {
		c.own = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConnsPerHost:    16,
			MaxConnsPerHost:        connections,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}
		rt = c.own
	}
	c.http = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error {
		// The body carries a session: it goes to the configured address only.
		return http.ErrUseLastResponse
	}}
}

// Close lets go of idle connections.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Hostname is the name under which the client registers entries.
func (c *Client) Hostname() string { return c.hostname }

// Impersonates says whether the client acts for the partner of each entry (partner -5)
// or for its own partner alone.
func (c *Client) Impersonates() bool { return c.partner < 0 }

// Partner is the partner whose sessions the client signs.
func (c *Client) Partner() int { return c.partner }

// SignKS signs a session of the client's partner with the client's secret, for people
// and scripts. Privileges are comma-separated; version is 1 or 2.
func (c *Client) SignKS(version, sessionType int, userID, privileges string, lifetime time.Duration) (string, error) {
	k := KS{PartnerID: c.partner, Expiry: time.Now().Add(lifetime).Unix(), Type: sessionType, UserID: userID, Privileges: privileges}
	switch version {
	case 1:
		return SignV1(c.secret, k)
	case 2:
		return SignV2(c.secret, k)
	}
	return "", fmt.Errorf("session version %d is unknown: use 1 or 2", version)
}
