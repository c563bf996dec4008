// Package origin serves playlists and media over HTTP: playlists from the timelines, media
// from the store, or made from the bus while the store does not have them. Its addresses are
// the store's keys, so a CDN may read either. Any origin answers any request.
package origin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// Timelines is where an origin reads timelines. *timeline.View implements it.
type Timelines interface {
	// State returns an entry's timeline; the error wraps timeline.ErrNoTimeline when there is none.
	State(ctx context.Context, entry string) (*timeline.State, error)
	// Items returns the items of a closed chapter.
	Items(ctx context.Context, broadcast string, c timeline.Chapter) ([]timeline.Item, error)
}

// Config is what an origin needs. Timelines and Store are required.
type Config struct {
	Timelines Timelines
	Store     storage.Store
	// Media is the bus, from which segments are made that the store does not have yet, or can't
	// give. Nil means that nothing is made.
	Media Media
	// StoreWait is how long the store has to open an object before the bus is asked, default
	// 250 ms: an answer that comes later is used when the bus has none.
	StoreWait time.Duration
	// Window is how many segments live playlists hold. Default 5.
	Window int
	// TS makes HLS come in MPEG-TS; what is stored, and DASH, stay CMAF.
	TS bool
	// Thumbnails says how pictures of entries are made. Default none.
	Thumbnails Thumbnails
	// AllowOrigin is the web origin whose pages may play, "*" for all. Default "*".
	AllowOrigin string
	// Access says who may watch until SetAccess does. Default everybody.
	Access     Access
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Origin is an http.Handler for "/kLive/", "/live/<entry>", "/crossdomain.xml" and
// "/clientaccesspolicy.xml".
type Origin struct {
	cfg    Config
	access atomic.Pointer[Access]
	texts  *texts
	media  *fetcher
	ts     *transmuxer // nil without MPEG-TS
	// pictures is nil when there are none.
	pictures *pictures
	metrics  metrics
	logged   atomic.Int64 // when an error was last logged, in ns
}

// New returns an origin.
func New(cfg Config) *Origin {
	if cfg.Window <= 0 {
		cfg.Window = playlist.DefaultWindow
	}
	if cfg.AllowOrigin == "" {
		cfg.AllowOrigin = "*"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.StoreWait <= 0 {
		cfg.StoreWait = 250 * time.Millisecond
	}
	m := newMetrics(cfg.Registerer)
	f := &fetcher{store: cfg.Store, wait: cfg.StoreWait}
	if cfg.Media != nil {
		f.rebuild = newRebuilder(cfg.Timelines, cfg.Media, m.rebuilds)
	}
	o := &Origin{cfg: cfg, texts: newTexts(cfg.Timelines, cfg.Window, cfg.TS, m.renders), media: f, metrics: m}
	o.SetAccess(cfg.Access)
	if cfg.TS {
		o.ts = newTransmuxer(cfg.Timelines, f, m.transmuxes)
	}
	if cfg.Thumbnails.Every > 0 {
		o.pictures = newPictures(cfg.Thumbnails, f, m.pictures)
	}
	return o
}

// ServeHTTP answers GET, HEAD and OPTIONS.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &counter{ResponseWriter: w, code: http.StatusOK}
	kind := o.serve(c, r)
	o.metrics.requests.WithLabelValues(kind, strconv.Itoa(c.code)).Inc()
	o.metrics.bytes.WithLabelValues(kind).Add(float64(c.bytes))
}

// The kinds of request that metrics tell apart.
const (
	kindPlaylist = "playlist"
	kindMedia    = "media"
	kindOther    = "other"
)

func (o *Origin) serve(w http.ResponseWriter, r *http.Request) (kind string) {
	o.cors(w)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return kindOther
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		fail(w, http.StatusMethodNotAllowed, "only GET, HEAD and OPTIONS are answered here")
		return kindOther
	}
	if text, ok := policies[r.URL.Path]; ok {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=86400")
		io.WriteString(w, text)
		return kindOther
	}
	path, ok := o.admit(w, r)
	if !ok {
		return kindOther
	}
	return o.route(w, r, strings.TrimPrefix(path, "/"))
}

// route answers for a path.
func (o *Origin) route(w http.ResponseWriter, r *http.Request, key string) (kind string) {
	segments := strings.SplitN(key, "/", maxSegments+1)
	if !plain(key, r.URL) {
		segments = nil
	}
	switch n := len(segments); {
	case n == 2 && segments[0] == "live":
		return o.redirect(w, r, segments[1])
	case n == 0 || segments[0] != playlist.Root:
	case n == 2 && segments[1] == authName:
		return o.auth(w, r)
	case n == 2 && segments[1] == playlist.TimeName:
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		io.WriteString(w, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
		return kindOther
	case n == 2:
		if sel, ok := playlist.ParseSMIL(segments[1]); ok {
			o.writeText(w, r, request{sel: sel, form: formSMIL})
			return kindPlaylist
		}
	case n == 3:
		return o.servePlaylist(w, r, segments[1], segments[2])
	case n == maxSegments:
		return o.serveMedia(w, r, key, segments)
	}
	fail(w, http.StatusNotFound, "there is nothing at this address; playlists are at /kLive/smil:<entry>_all.smil/playlist.m3u8")
	return kindOther
}

// maxSegments is how many segments the longest address has.
const maxSegments = 4

// plain reports whether a key, cut out of an address, is what the address says: it follows the
// store's grammar, and an escaped slash or dot is no way around that.
func plain(key string, u *url.URL) bool {
	return storage.CheckKey(key) == nil && !hasEscapedSeparator(u.EscapedPath())
}

func hasEscapedSeparator(path string) bool {
	path = strings.ToLower(path)
	return strings.Contains(path, "%2f") || strings.Contains(path, "%5c") || strings.Contains(path, "%2e")
}

func (o *Origin) cors(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", o.cfg.AllowOrigin)
	if o.cfg.AllowOrigin != "*" {
		h.Set("Vary", "Origin")
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Range, If-None-Match, If-Modified-Since, Cache-Control, Authorization")
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag, Date")
}

// fail answers with a reason in words. Errors are kept for a second, so that a crowd that
// waits for a stream does not ask the origin each time.
func fail(w http.ResponseWriter, code int, reason string) {
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Accept-Ranges"} {
		h.Del(name) // what was set before the error came
	}
	h.Set("Cache-Control", "max-age=1")
	if code == http.StatusForbidden {
		h.Set("Cache-Control", "no-store") // the next one with this address may be let in
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	io.WriteString(w, reason+"\n")
}

// failErr answers for an error of the timelines or the store.
func (o *Origin) failErr(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil:
		fail(w, http.StatusServiceUnavailable, "the request was given up")
	case errors.Is(err, timeline.ErrNoTimeline), errors.Is(err, storage.ErrNotFound):
		fail(w, http.StatusNotFound, "there is no such stream, or nothing of it has been stored yet")
	default:
		_, path := cutToken(r.URL.Path) // tokens are not for logs
		o.logOnce("origin: can't answer", "path", path, "err", err)
		w.Header().Set("Retry-After", "1")
		reason := "the stream can't be read at this moment, because the store or the bus does not answer; try again"
		if errors.Is(err, errAway) {
			reason = "the store does not answer at this moment, and this has left the live window; try again"
		}
		fail(w, http.StatusServiceUnavailable, reason)
	}
}

// logOnce logs an error, at most once a second: a crowd would say it over and over.
func (o *Origin) logOnce(text string, args ...any) {
	last, now := o.logged.Load(), time.Now().UnixNano()
	if now-last >= int64(time.Second) && o.logged.CompareAndSwap(last, now) {
		o.cfg.Logger.Error(text, args...)
	}
}

// policies are what Flash and Silverlight players ask for (contract row 120).
var policies = map[string]string{
	"/crossdomain.xml": `<?xml version="1.0"?>
<cross-domain-policy><allow-access-from domain="*" secure="false"/><allow-http-request-headers-from domain="*" headers="*" secure="false"/></cross-domain-policy>
`,
	"/clientaccesspolicy.xml": `<?xml version="1.0" encoding="utf-8"?>
<access-policy><cross-domain-access><policy><allow-from http-request-headers="*"><domain uri="*"/></allow-from><grant-to><resource path="/" include-subpaths="true"/></grant-to></policy></cross-domain-access></access-policy>
`,
}
