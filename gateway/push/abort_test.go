package push

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"klive/infra/live"
)

// broken is another gateway whose answer breaks off.
type broken struct{}

func (broken) Away(*http.Request, live.FeedID) bool { return true }

func (broken) HeldElsewhere(*http.Request, live.FeedID) bool { return true }

func (broken) Claim(context.Context, *http.Request, live.FeedID) bool { return false }

func (broken) Keep(context.Context, live.FeedID) bool { return false }

func (broken) Forward(http.ResponseWriter, *http.Request, live.FeedID) {
	panic(http.ErrAbortHandler)
}

// TestBrokenAnswer breaks an answer off that another gateway's did: that is no fault.
func TestBrokenAnswer(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Elsewhere = broken{} })
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("it ended with %v", p)
		}
		if strings.Contains(r.text(), "fault while serving") {
			t.Error("the log tells of a fault")
		}
	}()
	r.push.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", address+"/a.ts?p=102", nil))
}
