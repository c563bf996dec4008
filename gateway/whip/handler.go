package whip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"klive/gateway"
)

// statusError is a refusal with a status of its own.
type statusError struct {
	*gateway.Refusal
	status int
}

// Unwrap returns the refusal.
func (e *statusError) Unwrap() error { return e.Refusal }

func refuseWith(status int, format string, args ...any) error {
	return &statusError{refuse(format, args...), status}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // the asker went away while another gateway answered
			panic(p)
		default:
			s.metrics.panics.Inc()
			s.cfg.Logger.Error("fault while serving a WHIP request", "peer", r.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
			s.refuse(w, r, "", &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "fault in the server"})
		}
	}()
	allowOrigin(w)
	if r.Method == http.MethodOptions {
		s.options(w, r)
		return
	}
	to, err := readTarget(r)
	if err != nil {
		s.refuse(w, r, "", err)
		return
	}
	if to.session == "" {
		s.serveEndpoint(w, r, to)
		return
	}
	s.serveSession(w, r, to)
}

// serveEndpoint answers an offer.
func (s *Server) serveEndpoint(w http.ResponseWriter, r *http.Request, to target) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST, OPTIONS")
		s.refuse(w, r, to.Params.Entry, refuseWith(http.StatusMethodNotAllowed, "this address takes WHIP publishers: POST an SDP offer; play the entry's HLS address"))
		return
	}
	if err := s.enter(); err != nil {
		s.refuse(w, r, to.Params.Entry, err)
		return
	}
	defer s.leave()
	one, answer, err := s.open(w, r, to)
	if err != nil {
		s.refuse(w, r, to.Params.Entry, err)
		return
	}
	s.metrics.accepted.Inc()
	h := w.Header()
	h.Set("Content-Type", "application/sdp")
	h.Set("Cache-Control", "no-store")
	h.Set("Location", one.location())
	h.Set("ETag", one.etag())
	h.Set("Accept-Patch", fragmentType)
	s.linkServers(h, true)
	s.count(r, http.StatusCreated)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

// open decides on an offer and makes its session. The errors are *gateway.Refusal, or of the
// server.
func (s *Server) open(w http.ResponseWriter, r *http.Request, to target) (*session, string, error) {
	body, err := s.readBody(w, r, "application/sdp")
	if err != nil {
		return nil, "", err
	}
	o, err := readOffer(body)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Admission)
	defer cancel()
	permit, err := s.permit(ctx, r, &to)
	if err != nil {
		return nil, "", err
	}
	if err := s.reserve(); err != nil {
		return nil, "", err
	}
	registered := false
	defer func() {
		if !registered {
			s.release()
		}
	}()
	one := &session{
		server: s, id: newID(to.ID.Index), to: to.HTTPAddress, agent: agent(r), peer: r.RemoteAddr, offer: o,
		log:   s.cfg.Logger.With("entry", to.Params.Entry, "stream", to.ID.StreamName(), "protocol", "whip", "peer", r.RemoteAddr),
		lines: newLines(time.Now()), done: make(chan struct{}), gone: make(chan struct{}),
	}
	one.tag = newTag()
	answer, err := one.connect(ctx)
	if err == nil {
		err = one.publish(ctx, permit)
	}
	if err != nil {
		if one.pc != nil {
			_ = one.pc.GracefulClose()
		}
		return nil, "", err
	}
	registered = true
	s.register(one) // before the answer: what the encoder asks of the session may come at once
	return one, answer, nil
}

// permit asks whether the encoder may publish.
func (s *Server) permit(ctx context.Context, r *http.Request, to *target) (*gateway.Permit, error) {
	if to.AnyPartner {
		if s.cfg.Partner == nil {
			return nil, refuse("the address lacks p=, the partner")
		}
		var err error
		if to.Params.Partner, err = s.cfg.Partner(ctx, to.Params.Entry); err != nil {
			return nil, err
		}
	}
	return s.cfg.Gateway.Connect(ctx, gateway.Connect{Protocol: "whip", Peer: r.RemoteAddr, Params: to.Params})
}

// readBody reads a request's body, which has to be of a type.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, want string) ([]byte, error) {
	if is, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || is != want {
		return nil, refuseWith(http.StatusUnsupportedMediaType, "the body's type is %.60q; send %s", r.Header.Get("Content-Type"), want)
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(s.cfg.Admission))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxOffer)))
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuseWith(http.StatusRequestTimeout, "the body did not come within %v; send it at once", s.cfg.Admission)
	case errors.As(err, &large):
		return nil, refuseWith(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes; an offer for one stream is smaller", s.cfg.MaxOffer)
	case err != nil:
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	_ = c.SetReadDeadline(time.Time{}) // which else ended the request's context
	return body, nil
}

// serveSession answers what is asked of a session.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, to target) {
	one := s.find(to.session)
	if one == nil && s.cfg.Elsewhere != nil && s.cfg.Elsewhere.HeldElsewhere(r, to.ID) {
		w.Header().Del("Access-Control-Allow-Origin") // the other gateway says it
		w.Header().Del("Access-Control-Expose-Headers")
		s.cfg.Elsewhere.Forward(w, r, to.ID)
		return
	}
	if one == nil || one.to.ID != to.ID {
		s.refuse(w, r, to.Params.Entry, refuseWith(http.StatusNotFound, "there is no such session; it has ended, or the address is wrong"))
		return
	}
	if to.Params.Token != nil && !one.shows(&to) {
		s.refuse(w, r, to.Params.Entry, refuseWith(http.StatusUnauthorized, "the session was begun with another token"))
		return
	}
	switch r.Method {
	case http.MethodDelete:
		one.end(endDeleted, nil)
		<-one.gone
		s.count(r, http.StatusOK)
		w.WriteHeader(http.StatusOK)
	case http.MethodPatch:
		if err := s.patch(w, r, one); err != nil {
			s.refuse(w, r, to.Params.Entry, err)
		}
	default:
		w.Header().Set("Allow", "PATCH, DELETE, OPTIONS")
		s.refuse(w, r, to.Params.Entry, refuseWith(http.StatusMethodNotAllowed, "this is the address of a session: PATCH candidates, or DELETE to end it"))
	}
}

// shows reports whether a request shows the token that the session was begun with. The address
// names no partner.
func (s *session) shows(to *target) bool {
	to.AnyPartner = true
	return to.Shows(&s.to)
}

// agent is what the encoder calls itself.
func agent(r *http.Request) string {
	if a := r.UserAgent(); a != "" {
		return a
	}
	return "WHIP"
}

func (s *Server) count(r *http.Request, status int) {
	method := r.Method
	switch method {
	case http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodGet, http.MethodPut, http.MethodHead:
	default:
		method = "other"
	}
	s.metrics.requests.WithLabelValues(method, strconv.Itoa(status)).Inc()
}

// refuse answers with a refusal, and writes the log's line for it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, entry string, err error) {
	refusal := &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "this server can't take the stream now; try again", Err: err}
	errors.As(err, &refusal)
	status := gateway.HTTPStatus(refusal)
	if refusal.Reason == gateway.ReasonMedia {
		status = http.StatusUnprocessableEntity
	}
	var own *statusError
	if errors.As(err, &own) {
		status = own.status
	}
	s.count(r, status)
	args := []any{"entry", entry, "method", r.Method, "peer", r.RemoteAddr, "reason", refusal.Reason, "text", refusal.Text, "status", status}
	if refusal.Err != nil {
		args = append(args, "error", refusal.Err)
	}
	level := slog.LevelDebug // the log has it already
	if !refusal.Told {
		var repeats []any
		level, repeats = s.told.Loudness(string(refusal.Reason), r.RemoteAddr, entry+" "+refusal.Text)
		args = append(args, repeats...)
	}
	s.cfg.Logger.Log(r.Context(), level, "WHIP request refused", args...)
	gateway.AnswerRefusal(w, status, refusal)
}
