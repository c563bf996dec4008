package push

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"klive/infra/live"
)

// asked notes how it was asked about a feed.
type asked struct {
	begins, held, claims, forwarded int
	taken                           bool // another gateway was faster
}

func (a *asked) Away(*http.Request, live.FeedID) bool { a.begins++; return false }

func (a *asked) HeldElsewhere(*http.Request, live.FeedID) bool { a.held++; return false }

func (a *asked) Claim(context.Context, *http.Request, live.FeedID) bool { a.claims++; return !a.taken }

func (a *asked) Keep(context.Context, live.FeedID) bool { return true }

func (a *asked) Forward(w http.ResponseWriter, _ *http.Request, _ live.FeedID) {
	a.forwarded++
	w.WriteHeader(http.StatusAccepted)
}

// TestDeleteClaimsNothing holds that what ends a feed does not claim one for this gateway.
func TestDeleteClaimsNothing(t *testing.T) {
	a := &asked{}
	r := newRig(t, func(c *Config) { c.Elsewhere = a })
	r.push.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodDelete, address+"?p=102", nil))
	if a.begins != 0 || a.claims != 0 || a.held != 1 {
		t.Errorf("asked %d times as for a feed that begins, %d times as for one that is held", a.begins, a.held)
	}
}

// TestOnlyThePermittedClaim: a request that may not publish claims no feed; one that may, and finds that another gateway
// was faster, is answered by that one.
func TestOnlyThePermittedClaim(t *testing.T) {
	for _, c := range []struct {
		name, token       string
		taken             bool
		code              int
		claims, forwarded int
	}{
		{"a wrong token", "guess", false, http.StatusUnauthorized, 0, 0},
		{"no token", "", false, http.StatusUnauthorized, 0, 0},
		{"the first", "secret-token", false, http.StatusOK, 1, 0},
		{"too late", "secret-token", true, http.StatusAccepted, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &asked{taken: c.taken}
			r := newRig(t, func(cfg *Config) { cfg.Elsewhere = a })
			rec := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPut, address+"/a.ts?p=102", http.NoBody)
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			r.push.ServeHTTP(rec, req)
			if rec.Code != c.code || a.begins != 1 || a.claims != c.claims || a.forwarded != c.forwarded {
				t.Errorf("answered %d, %+v; want %d, %d claims and %d forwarded", rec.Code, *a, c.code, c.claims, c.forwarded)
			}
			if r.push.find(live.FeedID{Entry: "0_rkij47dr", Suffix: 1}) != nil != (c.code == http.StatusOK) {
				t.Error("a feed is here that should not be, or the other way round")
			}
		})
	}
}
