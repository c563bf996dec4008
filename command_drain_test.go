package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"klive/infra/admin"
)

// answering has the commands of a test reach an admin listener that answers with h.
func answering(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	t.Setenv("KLIVE_ADMIN_LISTEN", answered(t, h).Admin.Listen)
}

// TestDrainThatIsTakenBack: who waits for a drain is not told that all is well when somebody else has taken it back,
// whether or not the encoders have gone meanwhile.
func TestDrainThatIsTakenBack(t *testing.T) {
	for feeds := range 2 {
		answering(t, func(w http.ResponseWriter, r *http.Request) {
			held := admin.Held{Draining: true, Feeds: 1}
			if r.Method == http.MethodGet {
				held = admin.Held{Feeds: feeds}
			}
			_ = json.NewEncoder(w).Encode(held)
		})
		d := drainCmd{Wait: time.Minute}
		if err := d.Run(t.Context(), &global{}); err == nil || !strings.Contains(err.Error(), "drains no more") {
			t.Errorf("with %d streams: %v", feeds, err)
		}
	}
}

// TestCommandsNameTheTokenToSet: a person at the command line can't send a header; what is wrong is the configuration.
func TestCommandsNameTheTokenToSet(t *testing.T) {
	answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"detail":"send the admin token: Authorization: Bearer <admin.token>"}`))
	})
	err := feedListCmd{}.Run(t.Context(), &global{})
	if err == nil || !strings.Contains(err.Error(), "set admin.token (KLIVE_ADMIN_TOKEN)") {
		t.Errorf("%v", err)
	}
}
