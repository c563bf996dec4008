package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"klive/infra/config"
)

func TestProxied(t *testing.T) {
	ranges := config.HTTP{TrustedProxies: "10.40.0.0/16, fd00::/8"}.Proxies()
	if len(ranges) != 2 {
		t.Fatalf("%d ranges", len(ranges))
	}
	for _, c := range []struct {
		name, from string
		header     []string
		want       string
	}{
		{"through the load balancer", "10.40.1.2:443", []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"with a port", "10.40.1.2:443", []string{"203.0.113.9:5123"}, "203.0.113.9:5123"},
		{"through two", "10.40.1.2:443", []string{"203.0.113.9, 10.40.7.7"}, "203.0.113.9:0"},
		{"two headers", "10.40.1.2:443", []string{"203.0.113.9", "10.40.7.7"}, "203.0.113.9:0"},
		{"a client that says it is another", "10.40.1.2:443", []string{"127.0.0.1, 203.0.113.9"}, "203.0.113.9:0"},
		{"a stranger", "198.51.100.4:7", []string{"203.0.113.9"}, "198.51.100.4:7"},
		{"the load balancer itself", "10.40.1.2:443", nil, "10.40.1.2:443"},
		{"no address", "10.40.1.2:443", []string{"unknown"}, "10.40.1.2:443"},
		{"IPv6", "[fd00::1]:443", []string{"2001:db8::9"}, "[2001:db8::9]:0"},
		{"IPv6 with a port", "[fd00::1]:443", []string{"[2001:db8::9]:77"}, "[2001:db8::9]:77"},
		{"IPv4 as IPv6", "[::ffff:10.40.1.2]:443", []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"a long list", "10.40.1.2:443", []string{strings.Repeat("1.2.3.4,", 9000) + strings.Repeat("10.40.7.7,", 20) + "10.40.7.8"}, "10.40.7.7:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			h := proxied(ranges, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
			r := httptest.NewRequest(http.MethodPost, "/ingest/0_demolive_1", nil)
			r.RemoteAddr = c.from
			for _, v := range c.header {
				r.Header.Add("X-Forwarded-For", v)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got != c.want {
				t.Errorf("the request comes from %s, want %s", got, c.want)
			}
		})
	}
	// Without the key nobody is believed.
	h := proxied(config.Default().HTTP.Proxies(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr != "10.40.1.2:443" {
			t.Errorf("by default a request comes from %s", r.RemoteAddr)
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.40.1.2:443"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	h.ServeHTTP(httptest.NewRecorder(), r)
}
