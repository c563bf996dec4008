package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shelf is an Entries that remembers.
type shelf struct {
	// mu guards list.
	mu   sync.Mutex
	list []Entry
	fail error
}

func (s *shelf) Entries(context.Context) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list), s.fail
}

func (s *shelf) Add(_ context.Context, e NewEntry) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(e.Token, "/") {
		return Entry{}, &Refusal{Status: http.StatusBadRequest, Reason: "token: no slashes"}
	}
	made := Entry{ID: fmt.Sprintf("0_added%03d", len(s.list)), Name: e.Name, Partner: 102, Token: e.Token}
	s.list = append(s.list, made)
	return made, s.fail
}

func (s *shelf) Profiles(context.Context) ([]Profile, error) { return fakeEntries(nil).Profiles(context.Background()) }

func (s *shelf) Remove(_ context.Context, id string, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "0_demolive" && !force {
		return &Refusal{Status: http.StatusConflict, Reason: "entry 0_demolive is on the air"}
	}
	s.list = slices.DeleteFunc(s.list, func(e Entry) bool { return e.ID == id })
	return s.fail
}

func TestEntriesAreManaged(t *testing.T) {
	s := &shelf{list: []Entry{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}}}
	h := handler(t, func(c *Config) { c.Entries = s })
	ask := func(method, path, body string, header ...string) (int, string) {
		r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	want := func(name string, code int, body string, wantCode int, part string) {
		t.Helper()
		if code != wantCode || !strings.Contains(body, part) {
			t.Errorf("%s: HTTP %d %s; want %d with %q", name, code, body, wantCode, part)
		}
	}
	code, body := ask("POST", "/v1/entries", `{"name":"Town hall","token":"vote4me","dvr":30}`)
	want("add", code, body, http.StatusCreated, `"key":"0_added001_1"`)
	want("add says where to publish", code, body, http.StatusCreated, `t=vote4me`)
	code, body = ask("GET", "/v1/entries", "")
	want("list", code, body, http.StatusOK, `"managed":true`)
	for name, c := range map[string]struct{ body, part string }{
		"no object": {`[]`, "want a JSON object"}, "unknown member": {`{"name":"x","size":3}`, "size"}, "refused": {`{"name":"x","token":"a/b"}`, "no slashes"},
		"large": {`{"name":"` + strings.Repeat("x", maxNewEntry) + `"}`, "too large"},
	} {
		code, body = ask("POST", "/v1/entries", c.body)
		want(name, code, body, http.StatusBadRequest, c.part)
	}
	code, body = ask("POST", "/v1/entries", `{"name":"x"}`, "Origin", "https://evil.example.com", "Sec-Fetch-Site", "cross-site")
	want("another site's page", code, body, http.StatusForbidden, "")
	code, body = ask("DELETE", "/v1/entries/0_demolive", "")
	want("on the air", code, body, http.StatusConflict, "on the air")
	code, body = ask("DELETE", "/v1/entries/0_demolive?force=1", "")
	want("forced", code, body, http.StatusNoContent, "")
	s.fail = errors.New("bus at /secret is away")
	code, body = ask("DELETE", "/v1/entries/0_added001", "")
	want("a fault", code, body, http.StatusServiceUnavailable, "klive's log says why")
	if strings.Contains(body, "secret") {
		t.Errorf("the answer tells %s", body)
	}
	none := handler(t, func(c *Config) { c.Entries = nil })
	w := httptest.NewRecorder()
	none.ServeHTTP(w, httptest.NewRequest("POST", "http://localhost/v1/entries", strings.NewReader(`{"name":"x"}`)))
	if w.Code == http.StatusCreated {
		t.Error("a node without control plane added an entry")
	}
}

// TestEntriesInChromium adds an entry in a real browser, copies its address and removes it.
func TestEntriesInChromium(t *testing.T) {
	needTools(t)
	s := &shelf{list: []Entry{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}}}
	web := httptest.NewServer(handler(t, func(c *Config) { c.Console, c.Entries, c.Cluster = nil, s, fakeCluster{} }))
	defer web.Close()
	var saw struct {
		Names   [][]string // at first, with the new one, and after it went
		Refused string
		Copied  string
		Kept    string // why the one on the air stays
		Errors  []string
	}
	runNode(t, &saw, "entries.mjs", web.URL)
	if want := [][]string{{"Demo 0_demolive"}, {"Demo 0_demolive", "Town hall 0_added001"}, {"Demo 0_demolive"}}; fmt.Sprint(saw.Names) != fmt.Sprint(want) {
		t.Errorf("names %q, want %q", saw.Names, want)
	}
	if saw.Refused != "token: no slashes" || !strings.Contains(saw.Copied, "e=0_added001&i=0&t=vote4me") || saw.Kept != "entry 0_demolive is on the air" || len(saw.Errors) > 0 {
		t.Errorf("refused %q, copied %q, kept %q, errors %q", saw.Refused, saw.Copied, saw.Kept, saw.Errors)
	}
}
