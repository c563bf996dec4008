package kaltura_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// A template's errors stand in headers, beside an empty body or another, or in an envelope (row 65,
// contract §1.7, §9.9).
func TestTemplateErrors(t *testing.T) {
	const root = "<Root/>"
	for _, c := range []struct {
		name, header, app, kind, body string
		code, message                 string // of the API; without a code it is a bad answer
	}{
		{"in headers", "error- INVALID_STREAM_NAME", "exiting on error INVALID_STREAM_NAME - bad name", "text/xml", "", "INVALID_STREAM_NAME", "bad name"},
		{"in headers without words", "error-INGEST_NOT_FOUND_IN_CONVERSION_PROFILE", "", "text/xml", "", "INGEST_NOT_FOUND_IN_CONVERSION_PROFILE", ""},
		{"in headers beside a body", "error-ENTRY_ID_NOT_FOUND", "", "text/xml", root, "ENTRY_ID_NOT_FOUND", ""},
		{"as JSON", "", "", "application/json", `{"code":"SERVICE_DOES_NOT_EXISTS","message":"none"}`, "SERVICE_DOES_NOT_EXISTS", "none"},
		{"as XML", "", "", "text/xml", `<?xml version="1.0"?><xml><result><error><code>INTERNAL_SERVERL_ERROR</code><message>m</message></error></result></xml>`, "INTERNAL_SERVERL_ERROR", "m"},
		{"nothing", "", "", "text/xml", "", "", ""},
		{"a text", "", "", "text/plain", "Fatal error", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					w.Header().Set("X-Kaltura", c.header)
					w.Header().Set("X-Kaltura-App", c.app)
				}
				w.Header().Set("Content-Type", c.kind)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			a, _ := overSocket(t, server.URL, 5*time.Second)
			_, err := a.Template(t.Context(), 102, "0_rkij47dr_1", "ms1")
			switch {
			case c.code == "" && (!kaltura.Unavailable(err) || kaltura.IsAPIError(err)):
				t.Errorf("got %v, want a bad answer", err)
			case c.code != "" && (!kaltura.IsCode(err, c.code) || !strings.HasSuffix(err.Error(), c.message)):
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
}

// A template says that it may be cached for 100 days; each publish reads its own (row 78).
func TestTemplateIsReadEachTime(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Header.Get("Cache-Control") != "no-cache" || r.FormValue("streamName") != "0_rkij47dr_1" || r.FormValue("hostname") != "ms1" || r.FormValue("partnerId") != "102" {
			t.Errorf("%v %v", r.Header, r.Form)
		}
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("Cache-Control", "public, max-age=8640000, max-stale=0")
		io.WriteString(w, "<Root/>")
	}))
	defer server.Close()
	c, _ := overSocket(t, server.URL, 5*time.Second)
	for range 2 {
		if body, err := c.Template(t.Context(), 102, "0_rkij47dr_1", "ms1"); err != nil || string(body) != "<Root/>" {
			t.Errorf("%q, %v", body, err)
		}
	}
	if calls != 2 {
		t.Errorf("%d requests", calls)
	}
}
