package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"klive/infra/config"
	"klive/infra/kaltura"
)

// TestHintToLookAtKlive: a control plane that answers runs, and what keeps it from its work is known to its readiness;
// one that does not answer may not run at all. Of a Kaltura elsewhere neither is said.
func TestHintToLookAtKlive(t *testing.T) {
	slow := fmt.Errorf("add: %w", &kaltura.APIError{Code: "INTERNAL_SERVERL_ERROR", Message: "the call did not finish in time"})
	nobody := &kaltura.TransportError{Call: "liveStream.add", Err: errors.New("connection refused")}
	for _, c := range []struct {
		url  string
		err  error
		want string
	}{
		{"", slow, "klive health"},
		{"", nobody, "klive serve"},
		{"", errors.New("no such entry"), ""},
		{"http://kaltura", slow, ""},
	} {
		settings := config.Default()
		settings.Kaltura.URL = c.url
		err := hint(settings, c.err)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) || c.want == "" && err.Error() != c.err.Error() {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
