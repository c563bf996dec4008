package gateway

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHTTPAddress reads partner and token wherever a request may have them.
func TestHTTPAddress(t *testing.T) {
	for _, c := range []struct {
		name, query, user, password string
		partner                     int
		token                       string
		says                        string // by a refusal
	}{
		{"raw", "p=102&t=pw~+=-._", "", "", 102, "pw~+=-._", ""},
		{"percent-encoded", "p=102&t=pw%7E%2B%3D-._", "", "", 102, "pw~+=-._", ""},
		{"the last one", "t=first&p=102&t=second", "", "", 102, "second", ""},
		{"empty", "p=102&t=", "", "", 102, "", ""},
		{"none", "p=102", "", "", 102, "none", ""},
		{"basic", "", "102", "demo1234", 102, "demo1234", ""},
		{"basic without a user", "", "", "demo1234", 0, "demo1234", ""},
		{"basic of any user beside p", "p=102", "any", "demo1234", 102, "demo1234", ""},
		{"basic of any user", "", "any", "demo1234", 0, "", "user of basic authentication"},
		{"a partner that is no number", "p=x&t=demo1234", "", "", 0, "", "p= must be"},
		{"an escape that is none", "p=102&t=%zz", "", "", 0, "", "can't be read"},
	} {
		r := httptest.NewRequest("PUT", "/ingest/0_rkij47dr_1/s1.ts?"+c.query, nil)
		if c.password != "" {
			r.SetBasicAuth(c.user, c.password)
		}
		a, err := ReadHTTPAddress(r, "0_rkij47dr_1", "an example")
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %+v, %v; want a refusal with %q", c.name, a, err, c.says)
			}
			continue
		}
		token := "none"
		if a.Params.Token != nil {
			token = *a.Params.Token
		}
		if err != nil || a.Params.Partner != c.partner || a.AnyPartner != (c.partner == 0) || token != c.token {
			t.Errorf("%s: %+v with token %q, %v", c.name, a, token, err)
		}
	}
}
