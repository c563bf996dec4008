package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shelf is an Entries that remembers.
type shelf struct {
	mu    sync.Mutex // guards list and given
	list  []Entry
	given NewEntry // the last that was added
	fail  error
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
	s.list, s.given = append(s.list, made), e
	return made, s.fail
}

func (s *shelf) Profiles(context.Context) ([]Profile, error) {
	return fakeEntries(nil).Profiles(context.Background())
}

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

// orders is a Recordings with one broadcast that is being recorded.
type orders struct {
	mu   sync.Mutex // guards list
	list []string   // what was ordered
}

func (*orders) Recordings(context.Context, string) (RecordingList, error) {
	return RecordingList{Running: []string{"0_demolive"}}, nil
}

func (*orders) VODs(context.Context) ([]VOD, error) { return nil, nil }

func (o *orders) Order(_ context.Context, entry, kind, file string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, kind+" "+entry+file)
	return nil
}

// TestEntriesInChromium adds an entry in a real browser, copies its address, splits a recording and
// removes the entry.
func TestEntriesInChromium(t *testing.T) {
	needTools(t)
	s := &shelf{list: []Entry{{ID: "0_demolive", Name: "Demo", Partner: 102, Token: "demo1234"}}}
	o := &orders{}
	web := httptest.NewServer(handler(t, func(c *Config) {
		c.Console, c.Entries, c.Recordings = nil, s, o
		c.Cluster = fakeCluster{live: []LiveEntry{{ID: "0_demolive", Feeds: []string{"0_demolive.0.1"}, Health: HealthLive}}}
		c.Places.SRT, c.Places.RTMPS, c.Places.IngestHTTP, c.Places.Push, c.Places.WHIP = ":8890", ":1936", ":8080", true, true
	}))
	defer web.Close()
	var saw struct {
		Names     [][]string // at first, with the new one, and after it went
		Refused   string
		Profiles  []string
		Copied    string
		Addresses []string
		Split     string
		Cards     []string
		Kept      string // why the one on the air stays
		Errors    []string
	}
	args := []string{"entries.mjs", web.URL}
	if dir := os.Getenv("KLIVE_SHOTS"); dir != "" {
		args = append(args, filepath.Join(dir, "entries.png"))
	}
	runNode(t, &saw, args...)
	if want := [][]string{{"Demo 0_demolive"}, {"Demo 0_demolive", "Town hall 0_added001"}, {"Demo 0_demolive"}}; fmt.Sprint(saw.Names) != fmt.Sprint(want) {
		t.Errorf("names %q, want %q", saw.Names, want)
	}
	if saw.Refused != "token: no slashes" || !strings.Contains(saw.Copied, "e=0_added001&i=0&t=vote4me") || saw.Kept != "entry 0_demolive is on the air" || len(saw.Errors) > 0 {
		t.Errorf("refused %q, copied %q, kept %q, errors %q", saw.Refused, saw.Copied, saw.Kept, saw.Errors)
	}
	if want := "[Passthrough chosen Cloud transcode]"; fmt.Sprint(saw.Profiles) != want {
		t.Errorf("profiles %q, want %s", saw.Profiles, want)
	}
	if got, want := s.given, (NewEntry{Name: "Town hall", Token: "vote4me", DVR: 30, Profile: 502, Record: "session", SRTPassphrase: "behind.closed.doors"}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	for _, want := range []string{"RTMPS", "SRT", "HTTP", "WHIP", "Bearer token for WHIP: vote4me"} {
		if !slices.ContainsFunc(saw.Addresses, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no %s among the addresses %q", want, saw.Addresses)
		}
	}
	if fmt.Sprint(o.list) != "[split 0_demolive]" || !strings.Contains(saw.Split, "next file") {
		t.Errorf("ordered %q; the page says %q", o.list, saw.Split)
	}
	if slices.Sort(saw.Cards); len(slices.Compact(slices.Clone(saw.Cards))) != len(saw.Cards) || len(saw.Cards) < 3 {
		t.Errorf("cards %q: want a name of its own for each", saw.Cards)
	}
}
