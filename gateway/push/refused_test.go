package push

import (
	"net/http"
	"strings"
	"testing"
)

// TestRefusalsAreToldOnce: what asks for the same wrong thing again and again is one warning, and not a log of them.
func TestRefusalsAreToldOnce(t *testing.T) {
	r := newRig(t, nil)
	for range 10 {
		if code, _ := r.send("POST", "/ingest/nonsense", strings.NewReader("x")); code != http.StatusBadRequest {
			t.Errorf("answered %d", code)
		}
	}
	if n := strings.Count(r.text(), `level=WARN msg="push request refused"`); n != 1 {
		t.Errorf("%d warnings of 10 requests", n)
	}
}
