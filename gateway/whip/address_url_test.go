package whip

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPublicAddressByURL(t *testing.T) {
	for _, c := range []struct {
		name, answer, want, problem string
		status                      int
	}{
		{"an address", "203.0.113.7\n", "203.0.113.7", "", 200},
		{"IPv6", "2001:db8::7", "2001:db8::7", "", 200},
		{"a page", "<html>", "", "something else than an address", 200},
		{"a long answer", strings.Repeat("2", 1<<20), "", "something else than an address", 200},
		{"an error", "203.0.113.7", "", "503", 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.answer))
			}))
			defer s.Close()
			got, err := PublicAddresses(t.Context(), AddressSource{URL: s.URL})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("it finds %v and says %v, want %q", got, err, c.problem)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0].String() != c.want {
				t.Errorf("it finds %v (%v), want %s", got, err, c.want)
			}
		})
	}
}
