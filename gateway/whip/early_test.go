package whip

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"klive/gateway"
)

// early is an answer whose reader ends the session before it has all of it.
type early struct {
	*httptest.ResponseRecorder
	then func(location string)
}

func (e *early) WriteHeader(status int) {
	e.ResponseRecorder.WriteHeader(status)
	if status == http.StatusCreated {
		e.then(e.Header().Get("Location"))
	}
}

// TestEarlyRequest ends a session with its address as soon as that is known.
func TestEarlyRequest(t *testing.T) {
	r := newRig(t, nil)
	status := 0
	w := &early{httptest.NewRecorder(), func(location string) {
		res, _ := r.send("DELETE", location, "")
		status = res.StatusCode
	}}
	req := httptest.NewRequestWithContext(t.Context(), "POST", address+"?p=102&t=secret-token", strings.NewReader(anOffer))
	req.Header.Set("Content-Type", "application/sdp")
	r.whip.ServeHTTP(w, req)
	if w.Code != http.StatusCreated || status != http.StatusOK {
		t.Errorf("the offer got %d: %s; the end of its session %d", w.Code, w.Body, status)
	}
}

// slowly is a gateway that publishes when it is told to.
type slowly struct {
	Gateway
	asked, let chan struct{}
}

func (g *slowly) Publish(ctx context.Context, p *gateway.Permit, what gateway.Publish) (gateway.Publication, error) {
	close(g.asked)
	<-g.let
	return g.Gateway.Publish(ctx, p, what)
}

// TestCloseWhileDecided waits for the end of a session that is let in while the server closes.
func TestCloseWhileDecided(t *testing.T) {
	g := &slowly{asked: make(chan struct{}), let: make(chan struct{})}
	r := newRig(t, func(c *Config) { g.Gateway, c.Gateway = c.Gateway, g })
	answered, closed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(answered)
		r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp")
	}()
	<-g.asked
	go func() {
		defer close(closed)
		r.whip.Close()
		r.whip.mu.Lock()
		defer r.whip.mu.Unlock()
		if n := len(r.whip.sessions); n != 0 {
			t.Errorf("%d sessions are left behind", n)
		}
	}()
	r.wait("the closing", func() bool { r.whip.mu.Lock(); defer r.whip.mu.Unlock(); return r.whip.closed })
	close(g.let)
	<-closed
	<-answered
}
