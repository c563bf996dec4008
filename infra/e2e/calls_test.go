package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"klive/infra/check"
)

// callLog notes the calls that reach the API, the calls of a multirequest one by one.
type callLog struct {
	mu    sync.Mutex // guards the field below
	calls []check.Call
}

// observe puts the log in front of an API handler.
func (l *callLog) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		l.note(r.URL, string(body))
		next.ServeHTTP(w, r)
	})
}

// note reads the parameters as contract §1.1 to §1.5 say: form, query, path pairs.
func (l *callLog) note(u *url.URL, body string) {
	values, _ := url.ParseQuery(body)
	params := map[string]string{}
	for _, from := range []url.Values{values, u.Query()} {
		for k, v := range from {
			params[k] = v[0]
		}
	}
	_, path, _ := strings.Cut(u.Path, "/api_v3/")
	pairs := strings.Split(strings.TrimPrefix(path, "index.php/"), "/")
	for i := 0; i+1 < len(pairs); i += 2 {
		params[pairs[i]] = pairs[i+1]
	}
	switch strings.ToLower(params["service"] + "." + params["action"]) {
	case "mediaserver.reportstatus", "servernode.reportstatus", "flavorparams.list":
		return // what nodes do by themselves, about no entry
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if params["service"] != "multirequest" {
		l.calls = append(l.calls, callOf(params))
		return
	}
	for i := 1; ; i++ {
		sub := map[string]string{}
		for k, v := range params {
			if rest, ok := strings.CutPrefix(k, strconv.Itoa(i)+":"); ok {
				sub[rest] = v
			}
		}
		if sub["service"] == "" {
			return
		}
		if _, ok := sub["partnerId"]; !ok {
			sub["partnerId"] = params["partnerId"]
		}
		l.calls = append(l.calls, callOf(sub))
	}
}

func callOf(params map[string]string) check.Call {
	c := check.Call{At: time.Now(), Service: params["service"], Action: params["action"], Params: params}
	delete(params, "service")
	delete(params, "action")
	return c
}

func (l *callLog) list() []check.Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]check.Call(nil), l.calls...)
}
