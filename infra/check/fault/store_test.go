package fault

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestStoreRelay(t *testing.T) {
	var asked atomic.Int32
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Seen-Host", r.Host)
	}))
	defer store.Close()
	var journal Journal
	r := NewStoreRelay(t, "one", strings.TrimPrefix(store.URL, "http://"), &journal)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	put := func(path, body string) (int, error) {
		req, err := http.NewRequest(http.MethodPut, "http://"+r.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if host := resp.Header.Get("Seen-Host"); host != "" && host != r.Addr() {
			t.Errorf("the store saw the host %q, which breaks signatures", host)
		}
		return resp.StatusCode, nil
	}
	expect := func(what string, status int, reached int32, path, body string) {
		t.Helper()
		before := asked.Load()
		got, err := put(path, body)
		if got != status || (status == 0) != (err != nil) || asked.Load()-before != reached {
			t.Errorf("%s: status %d, error %v, the store was asked %d times; want status %d, %d times", what, got, err, asked.Load()-before, status, reached)
		}
	}
	expect("no trouble", 200, 1, "/b/head.json", "{}")
	r.Set(Trouble{Status: http.StatusServiceUnavailable})
	expect("503", 503, 0, "/b/head.json", "{}")
	r.Set(Trouble{LoseAnswers: true, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".json") }})
	expect("a lost answer", 0, 1, "/b/head.json", "{1}")
	expect("a request that is not meant", 200, 1, "/b/1-1.m4s", "media")
	r.Set(Trouble{Delay: 100 * time.Millisecond})
	begin := time.Now()
	expect("slow", 200, 1, "/b/1-1.m4s", "media")
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("a slow store took %v", took)
	}
	arrived := make(chan struct{})
	r.Set(Trouble{Hang: true, Match: func(*http.Request) bool { close(arrived); return true }})
	go func() { <-arrived; time.Sleep(100 * time.Millisecond); r.Set(Trouble{}) }()
	expect("a hanging store that recovers", 0, 0, "/b/head.json", "{}")

	writes := journal.Writes(func(w *Write) bool { return w.Done() })
	var bodies []string
	for _, w := range writes {
		bodies = append(bodies, string(w.Body))
		if w.From != "one" || w.ETag != `"1"` || w.At.Before(w.Asked) {
			t.Errorf("%+v", w)
		}
	}
	if got := strings.Join(bodies, ","); got != "{},{1},," {
		t.Errorf("the journal holds %q", got)
	}
}
