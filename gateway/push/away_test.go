package push

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"klive/infra/live"
)

// asked notes how it was asked about a feed.
type asked struct{ begins, held int }

func (a *asked) Away(*http.Request, live.FeedID) bool { a.begins++; return false }

func (a *asked) HeldElsewhere(*http.Request, live.FeedID) bool { a.held++; return false }

func (*asked) Forward(http.ResponseWriter, *http.Request, live.FeedID) {}

// TestDeleteClaimsNothing holds that what ends a feed does not claim one for this gateway.
func TestDeleteClaimsNothing(t *testing.T) {
	a := &asked{}
	r := newRig(t, func(c *Config) { c.Elsewhere = a })
	r.push.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodDelete, address+"?p=102", nil))
	if a.begins != 0 || a.held != 1 {
		t.Errorf("asked %d times as for a feed that begins, %d times as for one that is held", a.begins, a.held)
	}
}
