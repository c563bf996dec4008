package telemetry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// Protection is asked for with the first feed, again at half its time, and given back after
// the last; a call that fails is made again.
func TestProtection(t *testing.T) {
	type state struct {
		ProtectionEnabled bool
		ExpiresInMinutes  int
	}
	var calls []state
	refuse := false
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var s state
		if r.Method != http.MethodPut || r.URL.Path != "/task-protection/v1/state" || json.NewDecoder(r.Body).Decode(&s) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		calls = append(calls, s)
		if refuse {
			http.Error(w, `{"error":{"Code":"ThrottlingException"}}`, http.StatusTooManyRequests)
		}
	}))
	defer agent.Close()
	feeds := 0
	p := &Protection{Agent: agent.URL, For: 30 * time.Minute, Feeds: func() int { return feeds }}
	on, off := state{true, 30}, state{false, 0}
	now := time.Unix(0, 0)
	for _, c := range []struct {
		after  time.Duration
		feeds  int
		refuse bool
		want   []state
	}{
		{0, 0, false, nil},
		{10 * time.Second, 1, true, []state{on}},
		{10 * time.Second, 1, false, []state{on}},
		{14 * time.Minute, 2, false, nil},
		{2 * time.Minute, 2, false, []state{on}},
		{10 * time.Second, 0, false, []state{off}},
		{time.Hour, 0, false, nil},
	} {
		now = now.Add(c.after)
		feeds = c.feeds
		calls, refuse = nil, c.refuse
		err := p.step(t.Context(), now)
		if (err != nil) != c.refuse || err != nil && !strings.Contains(err.Error(), "ThrottlingException") {
			t.Errorf("at %v: %v", now, err)
		}
		if !slices.Equal(calls, c.want) {
			t.Errorf("with %v feeds after %v the agent was called %+v, want %+v", c.feeds, c.after, calls, c.want)
		}
	}
}
