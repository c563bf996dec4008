package push

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"klive/gateway"
	"klive/infra/live"
)

// Handler answers what lies under [Prefix].
type Handler struct {
	cfg     Config
	metrics *metrics
	told    gateway.Refusals

	running sync.WaitGroup

	// mu guards the fields below.
	mu       sync.Mutex
	feeds    map[live.FeedID]*feed
	requests int
	closed   bool
}

// New returns a handler that is ready. Close ends its feeds.
func New(cfg Config) (*Handler, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Handler{cfg: cfg, metrics: newMetrics(cfg.Registerer), feeds: map[live.FeedID]*feed{}}, nil
}

// Close ends every feed in order and waits for them. Requests are refused from then on.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	list := make([]*feed, 0, len(h.feeds))
	for _, f := range h.feeds {
		list = append(list, f)
	}
	h.mu.Unlock()
	for _, f := range list {
		f.end(errShutdown)
	}
	h.running.Wait()
}

var errShutdown = &gateway.Refusal{Reason: gateway.ReasonShutdown, Text: "this server is shutting down; connect again to reach another one"}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // the asker went away while another gateway answered
			panic(p)
		default:
			h.metrics.panics.Inc()
			h.cfg.Logger.Error("fault while serving a push request", "peer", r.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
			h.answer(w, r, &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "fault in the server"}, "")
		}
	}()
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		w.Header().Set("Allow", "POST, PUT, DELETE")
		gateway.Problem(w, http.StatusMethodNotAllowed, "this address takes publishers only: POST or PUT the media; play the entry's HLS address")
		return
	}
	to, err := readTarget(r)
	if err != nil {
		h.answer(w, r, err, "")
		return
	}
	if h.find(to.ID) == nil && h.away(r, to.ID) || !h.here(w, r, to) {
		unbounded(w)
		// A packager that hangs up has sent what it wanted: the forwarder sees to the rest.
		h.cfg.Elsewhere.Forward(w, r.WithContext(context.WithoutCancel(r.Context())), to.ID)
	}
}

// here answers a request, unless its feed turns out to begin on another gateway: then it is false, and nothing of the
// request has been read.
func (h *Handler) here(w http.ResponseWriter, r *http.Request, to target) bool {
	if err := h.enter(); err != nil {
		h.answer(w, r, err, to.Params.Entry)
		return true
	}
	defer h.leave()
	err := h.serve(w, r, to)
	if errors.Is(err, errElsewhere) {
		return false
	}
	h.answer(w, r, err, to.Params.Entry)
	return true
}

// errElsewhere says that another gateway was faster to begin a feed.
var errElsewhere = errors.New("another gateway has begun the feed")

// away reports whether a request belongs to another gateway. What ends a feed is for one that is on the air.
func (h *Handler) away(r *http.Request, id live.FeedID) bool {
	switch {
	case h.cfg.Elsewhere == nil:
		return false
	case r.Method == http.MethodDelete:
		return h.cfg.Elsewhere.HeldElsewhere(r, id)
	}
	return h.cfg.Elsewhere.Away(r, id)
}

// unbounded takes the server's limits off a request whose body lasts as long as a broadcast.
func unbounded(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}

func (h *Handler) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return errShutdown
	case h.requests >= h.cfg.MaxRequests:
		return &gateway.Refusal{Reason: gateway.ReasonLimit, Text: "this server has as many requests as it takes; try again in a moment"}
	}
	h.requests++
	h.metrics.underway.Inc()
	h.running.Add(1)
	return nil
}

func (h *Handler) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests--
	h.metrics.underway.Dec()
	h.running.Done()
}

func (h *Handler) find(id live.FeedID) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.feeds[id]
}

// serve takes one request; its error is a *gateway.Refusal, errElsewhere, or nil.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, to target) error {
	f, err := h.admit(r, to)
	if err != nil {
		return err
	}
	defer f.release()
	if r.Method == http.MethodDelete {
		return nil // packagers take old segments away; they are not kept here
	}
	unbounded(w)
	b := newBody(w, r, h)
	defer b.stop()
	in := bufio.NewReaderSize(b, 64<<10)
	head, err := in.Peek(16)
	if len(head) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return nil // some packagers announce an address with an empty request
		}
		return b.explain(err)
	}
	switch sniff(head, in) {
	case formatTransport:
		err = f.transport(r, b, in, to)
	case formatMovie:
		err = f.movie(r, b, in, to)
	case formatText:
		err = f.text(in)
	default:
		err = &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "the body is neither an MPEG transport stream nor fragmented MP4 nor a playlist; send one of these"}
	}
	return b.explain(err)
}

// maxText bounds playlists and manifests.
const maxText = 4 << 20

// admit finds the request's feed, or has it begin: its first request is authenticated.
func (h *Handler) admit(r *http.Request, to target) (*feed, error) {
	ctx, cancel := h.patience(r)
	defer cancel()
	for {
		f, first, err := h.feed(to)
		if err != nil {
			return nil, err
		}
		if first {
			f.begin(ctx, r)
		}
		switch err := f.hold(ctx, &to); {
		case err == nil:
			return f, nil
		case !errors.Is(err, errAnother):
			return nil, err
		}
	}
}

// feed is the feed that a request belongs to; first says that it begins with this request.
func (h *Handler) feed(to target) (f *feed, first bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed { // its feeds have been told, and nobody would end another one
		return nil, false, errShutdown
	}
	if f = h.feeds[to.ID]; f == nil {
		f, first = newFeed(h, to), true
		h.feeds[to.ID] = f
	}
	return f, first, nil
}

// patience is the time to decide on a request. Packagers hang up when they have sent a segment
// and don't wait for the answer: that must not undo what they sent.
func (h *Handler) patience(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), h.cfg.Admission)
}

// errOther is the cause of the refusal of a request that does not belong to its feed.
var errOther = errors.New("another token or partner than the feed's")

func (h *Handler) forget(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds[f.id] == f {
		delete(h.feeds, f.id)
	}
}

// answer writes the answer, and the log's line for a refusal.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, err error, entry string) {
	if err == nil {
		h.metrics.requests.WithLabelValues("200").Inc()
		w.WriteHeader(http.StatusOK)
		return
	}
	refusal := asRefusal(err)
	code := status(refusal)
	h.metrics.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	args := []any{"entry", entry, "peer", r.RemoteAddr, "reason", refusal.Reason, "text", refusal.Text, "status", code}
	if refusal.Err != nil {
		args = append(args, "error", refusal.Err)
	}
	level := slog.LevelDebug // the log has it already, or the encoder went away within a body
	if !refusal.Told && (refusal == err || r.Context().Err() == nil) {
		var repeats []any
		level, repeats = h.told.Loudness(string(refusal.Reason), r.RemoteAddr, entry+" "+refusal.Text)
		args = append(args, repeats...)
	}
	h.cfg.Logger.Log(r.Context(), level, "push request refused", args...)
	gateway.AnswerRefusal(w, code, refusal)
}

// asRefusal makes a refusal of any error; what is none by itself is not for the encoder's eyes.
func asRefusal(err error) *gateway.Refusal {
	var r *gateway.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "this server can't take the stream now; try again", Err: err}
}
