package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/telemetry"
)

// Bounds of a request on its way to another gateway. It may last as long as a broadcast,
// but not in silence.
const (
	forwardDial   = 3 * time.Second
	forwardAnswer = 30 * time.Second // from the body's end to the answer
	forwardIdle   = 30 * time.Second
	forwardHeader = 64 << 10
	forwardConns  = 32 // idle ones kept to each gateway
	claimTries    = 3
	// ownerSilent is how old a gateway's last word of a feed may be before it is tried whether it can be
	// reached, and ownerDial how long that may take: a feed's record outlives its gateway for long,
	// because the bus may be what keeps it from being written.
	ownerSilent = live.FeedBeat + live.FeedLook
	ownerDial   = time.Second
)

// ErrNotOnAir is returned for a feed that no gateway holds.
var ErrNotOnAir = errors.New("gateway: nobody publishes this stream")

// ForwarderConfig is what a [Forwarder] needs. Feeds is required.
type ForwarderConfig struct {
	// Feeds is the bucket [live.FeedsBucket].
	Feeds Bucket
	// Claims is the bucket [live.ClaimsBucket]; nil where requests of one feed don't come to
	// several gateways.
	Claims Bucket
	// Address is this process's internal address; empty when no feed can be held here.
	Address string
	// Local answers requests for feeds that this process holds; nil when it holds none.
	Local http.Handler
	// Secret is what the nodes of the deployment share. Empty trusts this host.
	Secret string
	// Dial replaces the dialer; nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxRequests are those under way to other gateways at a time (1000).
	MaxRequests int
	Log         *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// Forwarder takes HTTP requests about a feed to the gateway that holds its encoder: a
// publish over HTTP is many requests, and a load balancer may bring each to another gateway.
type Forwarder struct {
	cfg     ForwarderConfig
	proxy   *httputil.ReverseProxy
	conns   *http.Transport
	metrics *forwardMetrics
	room    chan struct{} // holds a token for each request under way
	full    telemetry.Throttle
}

// NewForwarder returns a forwarder. Close frees its connections.
func NewForwarder(cfg ForwarderConfig) *Forwarder {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: forwardDial}).DialContext
	}
	if cfg.MaxRequests <= 0 {
		cfg.MaxRequests = 1000
	}
	f := &Forwarder{cfg: cfg, metrics: newForwardMetrics(cfg.Registerer), room: make(chan struct{}, cfg.MaxRequests), conns: &http.Transport{
		DialContext: cfg.Dial, ResponseHeaderTimeout: forwardAnswer, MaxResponseHeaderBytes: forwardHeader,
		MaxIdleConnsPerHost: forwardConns, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
	}}
	f.proxy = &httputil.ReverseProxy{
		Transport: f.conns, FlushInterval: -1, Rewrite: f.rewrite, ModifyResponse: watchAnswer, ErrorHandler: f.failed,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return f
}

// Close frees the connections that wait for another request.
func (f *Forwarder) Close() { f.conns.CloseIdleConnections() }

// Owner returns the internal address of the gateway that holds a feed, or [ErrNotOnAir].
func (f *Forwarder) Owner(ctx context.Context, id live.FeedID) (address string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kv, err := f.cfg.Feeds.Get(ctx, id.String())
	if errors.Is(err, bus.ErrNotFound) {
		return "", fmt.Errorf("%w: %s", ErrNotOnAir, id)
	}
	if err != nil {
		return "", err
	}
	r, err := live.UnmarshalFeedRecord(kv.Value)
	if err != nil {
		return "", err
	}
	if !r.Alive(time.Now()) || f.gone(ctx, &r) {
		return "", fmt.Errorf("%w: %s", ErrNotOnAir, id)
	}
	return r.Gateway, nil
}

// gone reports whether a feed's gateway is silent and can't be reached: killed, most likely. An
// encoder that comes back must not wait until its record is out of date.
func (f *Forwarder) gone(ctx context.Context, r *live.FeedRecord) bool {
	if r.Gateway == "" || r.Gateway == f.cfg.Address || time.Since(r.Beat) < ownerSilent {
		return false
	}
	dial, cancel := context.WithTimeout(ctx, ownerDial)
	defer cancel()
	c, err := f.cfg.Dial(dial, "tcp", r.Gateway)
	if err == nil {
		c.Close()
	}
	return err != nil && ctx.Err() == nil
}

// Forward answers a request about a feed: here when this process holds it, and otherwise
// with what the gateway says that does. A request that another gateway has forwarded is
// answered here in any case, so none goes round in circles.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, id live.FeedID) {
	address, err := f.Owner(r.Context(), id)
	if errors.Is(err, ErrNotOnAir) && f.cfg.Claims != nil {
		if claimed, cerr := f.claimed(r.Context(), id); cerr == nil {
			address, err = claimed, nil
		} else if !errors.Is(cerr, bus.ErrNotFound) {
			err = cerr
		}
	}
	switch {
	case errors.Is(err, ErrNotOnAir):
		Problem(w, http.StatusNotFound, fmt.Sprintf("stream %s (%s) is not on the air", id.StreamName(), id.Index))
	case err != nil:
		f.cfg.Log.Warn("can't find the gateway of a feed", "feed", id, "error", err)
		Problem(w, http.StatusServiceUnavailable, "this server can't reach the bus; try again in a moment")
	case f.cfg.Local != nil && (address == f.cfg.Address || forwarded(r)):
		f.cfg.Local.ServeHTTP(w, r)
	case address == "" || forwarded(r):
		Problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("the gateway of stream %s can't be asked from here; set internal.listen on every gateway", id.StreamName()))
	default:
		f.send(w, r, id, address)
	}
}

// Away reports whether another gateway holds a feed, or is about to, and can be asked about it. A request that was
// forwarded already belongs here.
func (f *Forwarder) Away(r *http.Request, id live.FeedID) bool {
	if forwarded(r) || f.cfg.Address == "" {
		return false
	}
	address, err := f.Owner(r.Context(), id)
	if errors.Is(err, ErrNotOnAir) && f.cfg.Claims != nil {
		address, err = f.claimed(r.Context(), id)
	}
	return err == nil && f.isOther(address)
}

// Claim has a feed begin here, when nobody else has it: of requests that begin a feed at once on several gateways all
// go to one. It is false when another gateway was faster, which [Forwarder.Forward] then asks. A claim is forgotten after
// [live.ClaimLife], unless it is kept. Only what was authenticated may claim.
func (f *Forwarder) Claim(ctx context.Context, r *http.Request, id live.FeedID) bool {
	if forwarded(r) || f.cfg.Address == "" {
		return true
	}
	return f.begins(ctx, id)
}

// begins reports whether a feed that nobody else has begins here.
func (f *Forwarder) begins(ctx context.Context, id live.FeedID) bool {
	address, err := f.Owner(ctx, id)
	if errors.Is(err, ErrNotOnAir) {
		address, err = f.claim(ctx, id)
	}
	return err != nil || !f.isOther(address)
}

// Keep has the claim on a feed live on that begins here and is not on the air yet: its first media may come later than
// [live.ClaimLife]. It is false when another gateway has the feed meanwhile.
func (f *Forwarder) Keep(ctx context.Context, id live.FeedID) bool {
	if f.cfg.Claims == nil || f.cfg.Address == "" {
		return true
	}
	kv, err := f.cfg.Claims.Get(ctx, id.String())
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return f.begins(ctx, id)
	case err != nil:
		return true // it is asked again, and the claim outlives a short outage
	case f.isOther(string(kv.Value)):
		return false
	}
	if _, err := f.cfg.Claims.Update(ctx, id.String(), kv.Value, kv.Revision); err != nil {
		f.cfg.Log.Debug("a claim on a feed could not be kept; it is tried again", "feed", id, "error", err)
	}
	return true
}

// HeldElsewhere reports whether another gateway holds a feed and can be asked about it. A
// request that was forwarded already belongs here.
func (f *Forwarder) HeldElsewhere(r *http.Request, id live.FeedID) bool {
	if forwarded(r) || f.cfg.Address == "" {
		return false
	}
	address, err := f.Owner(r.Context(), id)
	return err == nil && f.isOther(address)
}

// isOther reports whether an address is that of another gateway.
func (f *Forwarder) isOther(address string) bool { return address != "" && address != f.cfg.Address }

// claim returns the address of the gateway that begins a feed: this one, or one that was
// faster.
func (f *Forwarder) claim(ctx context.Context, id live.FeedID) (address string, err error) {
	if f.cfg.Claims == nil {
		return f.cfg.Address, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range claimTries {
		_, err := f.cfg.Claims.Create(ctx, id.String(), []byte(f.cfg.Address), live.ClaimLife)
		if !errors.Is(err, bus.ErrConflict) {
			return f.cfg.Address, err
		}
		if address, err = f.claimed(ctx, id); !errors.Is(err, bus.ErrNotFound) {
			return address, err
		}
	}
	return f.cfg.Address, nil
}

func (f *Forwarder) claimed(ctx context.Context, id live.FeedID) (address string, err error) {
	kv, err := f.cfg.Claims.Get(ctx, id.String())
	return string(kv.Value), err
}

// send streams a request to another gateway and its answer back, if there is room for one more.
func (f *Forwarder) send(w http.ResponseWriter, r *http.Request, id live.FeedID, address string) {
	select {
	case f.room <- struct{}{}:
		defer func() { <-f.room }()
	default:
		f.metrics.requests.WithLabelValues("refused").Inc()
		if held, ok := f.full.Pass(""); ok {
			f.cfg.Log.Warn("no more requests are handed on to other gateways", "most", f.cfg.MaxRequests, "feed", id, "gateway", address, "before", held)
		}
		Problem(w, http.StatusTooManyRequests, "this server hands as many requests on as it may; try again in a moment")
		return
	}
	f.metrics.underway.Inc()
	defer f.metrics.underway.Dec()
	f.metrics.requests.WithLabelValues("sent").Inc()
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), destinationKey{}, destination{id, address}))
	defer cancel(nil)
	idle := time.AfterFunc(forwardIdle, func() {
		cancel(errIdle)
		// The proxy waits for a read of the body that nothing else would end.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	})
	defer idle.Stop()
	r = r.WithContext(context.WithValue(ctx, idleKey{}, idle))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &watched{ReadCloser: r.Body, idle: idle}
	}
	f.proxy.ServeHTTP(w, r)
}

// What a request on its way carries in its context.
type (
	destinationKey struct{}
	idleKey        struct{}
	forwardedKey   struct{}
)

// destination is a feed and the gateway that holds it.
type destination struct {
	feed    live.FeedID
	address string
}

var errIdle = fmt.Errorf("nothing moved for %v", forwardIdle)

// watched puts the end of patience off with each byte that moves.
type watched struct {
	io.ReadCloser
	idle *time.Timer
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.idle.Reset(forwardIdle)
	}
	return n, err
}

func watchAnswer(r *http.Response) error {
	if idle, ok := r.Request.Context().Value(idleKey{}).(*time.Timer); ok {
		idle.Reset(forwardIdle)
		r.Body = &watched{ReadCloser: r.Body, idle: idle}
	}
	return nil
}

func (f *Forwarder) rewrite(p *httputil.ProxyRequest) {
	to, _ := p.In.Context().Value(destinationKey{}).(destination)
	p.SetURL(&url.URL{Scheme: "http", Host: to.address})
	p.Out.Host = p.In.Host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it came: it is signed
	sign(p.Out, f.cfg.Secret, p.In.RemoteAddr, time.Now())
}

func (f *Forwarder) failed(w http.ResponseWriter, r *http.Request, err error) {
	if cause := context.Cause(r.Context()); errors.Is(cause, errIdle) {
		err = cause
	} else if cause != nil {
		return // the asker is gone
	}
	f.metrics.requests.WithLabelValues("unanswered").Inc()
	to, _ := r.Context().Value(destinationKey{}).(destination)
	// Not the path: it may hold a token, or be the secret address of a session.
	f.cfg.Log.Warn("another gateway does not answer", "gateway", to.address, "feed", to.feed, "error", err)
	Problem(w, http.StatusBadGateway, "the server that holds this stream does not answer; try again in a moment")
}

// Receive is the internal listener's handler: it lets in what other gateways have
// forwarded, and answers it here.
func (f *Forwarder) Receive() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := verify(r, f.cfg.Secret, time.Now()); err != nil {
			f.cfg.Log.Warn("an internal request was refused", "peer", r.RemoteAddr, "method", r.Method, "reason", err) // and no path, as above
			Problem(w, http.StatusForbidden, err.Error())
			return
		}
		if f.cfg.Local == nil {
			Problem(w, http.StatusMisdirectedRequest, "this node holds no streams")
			return
		}
		in := r.WithContext(context.WithValue(r.Context(), forwardedKey{}, true))
		in.RemoteAddr = r.Header.Get(headerPeer)
		for _, h := range []string{headerTime, headerPeer, headerSignature} {
			in.Header.Del(h)
		}
		f.cfg.Local.ServeHTTP(w, in)
	})
}

// forwarded reports whether another gateway has sent a request here.
func forwarded(r *http.Request) bool { return r.Context().Value(forwardedKey{}) != nil }
