package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Streams tells what is on the air.
type Streams interface {
	// Streams lists the live streams, one an encoder's feed, in the order to show them.
	Streams(ctx context.Context) ([]Stream, error)
}

// Entries tells who may publish here, and manages them. Errors that the caller can mend are
// [*Refusal]s.
type Entries interface {
	// Entries lists the live entries of the control plane, in the order to show them.
	Entries(ctx context.Context) ([]Entry, error)
	// Add makes a live entry.
	Add(ctx context.Context, e NewEntry) (Entry, error)
	// Profiles lists the conversion profiles that entries may have.
	Profiles(ctx context.Context) ([]Profile, error)
	// Remove removes one; one that is on the air only with force.
	Remove(ctx context.Context, id string, force bool) error
}

// Config is what a Handler needs.
type Config struct {
	Log *slog.Logger
	// Version is shown in the console.
	Version string
	// Token guards the listener; empty means that it is for this host alone.
	Token string
	// Places are the addresses that encoders and players use.
	Places Places
	// Streams may be nil: then this process knows nothing of streams and entries, says so, and has
	// no console. Entries may be nil: then nothing says who may publish.
	Streams Streams
	Entries Entries
	// Cluster may be nil: then nothing is told of nodes and owners.
	Cluster Cluster
	// Process says what this process holds; nil means that it does not tell.
	Process func() Process
	// Feeds answers /v1/feeds/{id}/…, which ask something of a feed; nil when nothing can be.
	Feeds http.Handler
	// Drain may be nil: then the process can only be ended.
	Drain Drainer
	// Usage may be nil: then nothing is told of what partners have used.
	Usage Usage
	// Pins may be nil: then nothing can be chosen.
	Pins Pins
	// Recordings may be nil: then nothing is told of recorded files.
	Recordings Recordings
	// VOD answers /vod/…, the files of recorded entries; nil when there are none here.
	VOD http.Handler
	// Metrics is what /metrics shows; nil means nothing.
	Metrics prometheus.Gatherer
	// Ready returns nil when this process can take work, or says what it waits for; nil means
	// always ready.
	Ready func(context.Context) error
	// Full says why a process that is ready takes no new streams; nil while it does, or always.
	Full func() error
	// Remark says what a process that is ready lacks; nil or empty means nothing.
	Remark func() string
	// ControlPlane answers /api_v3; nil means that there is none here.
	ControlPlane http.Handler
	// Console holds the console's built files; nil means those in the binary.
	Console fs.FS
}

// Handler answers the admin listener's requests.
type Handler struct {
	config  Config
	console http.Handler
	guard   *guard
	root    http.Handler
}

// New returns the handler of an admin listener.
func New(c Config) (*Handler, error) {
	if c.Log == nil {
		return nil, errors.New("admin: Log is required")
	}
	if c.Console == nil {
		c.Console = builtConsole()
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	h := &Handler{config: c, guard: newGuard(c.Token)}
	h.console = newConsole(c.Console)
	h.root = h.routes()
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.root.ServeHTTP(w, r) }

// routes is the listener's table of contents.
func (h *Handler) routes() http.Handler {
	inner := http.NewServeMux()
	api := newResources(inner)
	unknown := api.notFound
	// A page of another site must not act with this browser's cookie, or from this host.
	own := http.NewCrossOriginProtection()
	if h.config.Streams != nil {
		api.handle(http.MethodGet, "/v1/streams", http.HandlerFunc(h.streams))
		api.handle(http.MethodGet, "/v1/streams/{entry}", http.HandlerFunc(h.streams))
		api.handle(http.MethodGet, "/v1/entries", http.HandlerFunc(h.entries))
		api.handle(http.MethodGet, "/v1/server", http.HandlerFunc(h.server))
		api.handle(http.MethodGet, "/v1/recordings", http.HandlerFunc(h.recordings))
		inner.Handle("/", h.console)
	} else {
		unknown = elsewhere
		inner.HandleFunc("/", elsewhere)
		inner.HandleFunc("/v1/drain", nothingToDrain)
	}
	if h.config.Entries != nil {
		api.handle(http.MethodPost, "/v1/entries", own.Handler(http.HandlerFunc(h.addEntry)))
		api.handle(http.MethodGet, "/v1/profiles", http.HandlerFunc(h.profiles))
		api.handle(http.MethodDelete, "/v1/entries/{id}", own.Handler(http.HandlerFunc(h.removeEntry)))
	}
	if h.config.Cluster != nil {
		api.handle(http.MethodGet, "/v1/nodes", http.HandlerFunc(h.nodes))
	}
	if h.config.Feeds != nil {
		api.handle(http.MethodPost, "/v1/feeds/{id}/kick", own.Handler(h.config.Feeds))
	}
	if h.config.Drain != nil {
		api.handle(http.MethodGet, "/v1/drain", http.HandlerFunc(h.held))
		api.handle(http.MethodPost, "/v1/drain", own.Handler(http.HandlerFunc(h.drain)))
		api.handle(http.MethodDelete, "/v1/drain", own.Handler(http.HandlerFunc(h.undrain)))
	}
	if h.config.Usage != nil {
		api.handle(http.MethodGet, "/v1/usage", http.HandlerFunc(h.usage))
	}
	if h.config.Pins != nil {
		api.handle(http.MethodPut, "/v1/entries/{entry}/pin", own.Handler(http.HandlerFunc(h.pin)))
		api.handle(http.MethodDelete, "/v1/entries/{entry}/pin", own.Handler(http.HandlerFunc(h.unpin)))
	}
	if h.config.Recordings != nil {
		api.handle(http.MethodPost, "/v1/recordings/{entry}/{kind}", own.Handler(http.HandlerFunc(h.orderRecording)))
	}
	if h.config.VOD != nil {
		inner.Handle("GET /vod/", h.config.VOD)
	}
	api.refuseOthers()
	inner.HandleFunc("/v1/", unknown)
	inner.Handle("GET /metrics", promhttp.HandlerFor(h.config.Metrics, promhttp.HandlerOpts{}))
	inner.HandleFunc("/debug/pprof/", pprof.Index)
	inner.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	inner.HandleFunc("/debug/pprof/profile", pprof.Profile)
	inner.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	inner.HandleFunc("/debug/pprof/trace", pprof.Trace)

	outer := http.NewServeMux()
	// What watches over processes has no token, and a worker no other listener.
	outer.HandleFunc("GET /readyz", h.readyz)
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	outer.HandleFunc("POST "+loginPath, h.guard.login)
	outer.HandleFunc("GET /login.css", h.guard.style)
	if h.config.ControlPlane != nil {
		outer.Handle("/api_v3", h.config.ControlPlane)
		outer.Handle("/api_v3/", h.config.ControlPlane)
	}
	outer.Handle("/", secureHeaders(h.guard.wrap(inner)))
	return outer
}

// elsewhere answers on a process that knows nothing of streams.
func elsewhere(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "this process is a node of klive's bus: it has no console and knows nothing of streams and entries; ask the admin listener of another role. Here are /readyz, /metrics and /v1/nodes")
}

// nothingToDrain answers there who wants to end the process.
func nothingToDrain(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "a node of klive's bus has nothing to drain: end it while the others are there, one after the other; each /readyz says which are missing")
}

func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	if h.config.Ready != nil {
		if err := h.config.Ready(r.Context()); err != nil {
			plain(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
	}
	text := "ready"
	if h.config.Full != nil {
		if err := h.config.Full(); err != nil {
			text = err.Error() // 200 all the same: it should not be ended for that
		}
	}
	if h.config.Remark != nil {
		if remark := h.config.Remark(); remark != "" {
			text += ", but " + remark
		}
	}
	plain(w, http.StatusOK, text)
}

// secureHeaders keeps pages of this listener to themselves: no framing, no foreign
// scripts. Media may come from any address, because viewers' addresses are a matter of
// configuration.
func secureHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"media-src http: https: blob:; connect-src 'self' http: https:; worker-src 'self' blob:; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
