package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// fakePins notes what was chosen; entries other than 0_demolive are not on the air.
type fakePins struct{ chosen []string }

func (f *fakePins) Pin(_ context.Context, entry, index string) error {
	if entry != "0_demolive" {
		return &Refusal{Status: http.StatusNotFound, Reason: "no stream of entry " + entry + " is on the air"}
	}
	f.chosen = append(f.chosen, index)
	return nil
}

func TestPins(t *testing.T) {
	pins := &fakePins{}
	h := handler(t, func(c *Config) { c.Pins = pins })
	ask := func(method, entry, body string, header ...string) *http.Response {
		r := httptest.NewRequest(method, local+"/v1/entries/"+entry+"/pin", strings.NewReader(body))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if res := ask(http.MethodPut, "0_demolive", `{"index":"backup"}`); res.StatusCode != http.StatusOK || !strings.Contains(body(t, res), `"pinned":"backup"`) {
		t.Errorf("pin: %s", res.Status)
	}
	if res := ask(http.MethodDelete, "0_demolive", ""); res.StatusCode != http.StatusOK {
		t.Errorf("unpin: %s", res.Status)
	}
	for _, bad := range []string{"", "backup", `{"index":"third"}`, `{"index":"backup","for":"ever"}`, `{}`} {
		checkProblem(t, ask(http.MethodPut, "0_demolive", bad), http.StatusBadRequest, `{"index": "backup"}`)
	}
	checkProblem(t, ask(http.MethodPut, "0_otherone", `{"index":"primary"}`), http.StatusNotFound, "0_otherone is on the air")
	if res := ask(http.MethodPut, "0_demolive", `{"index":"primary"}`, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example.com"); res.StatusCode != http.StatusForbidden {
		t.Errorf("another page: %s", res.Status)
	}
	if !slices.Equal(pins.chosen, []string{"backup", ""}) {
		t.Errorf("chosen: %q", pins.chosen)
	}
}
