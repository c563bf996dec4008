package whip

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
