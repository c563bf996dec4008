package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Trouble is how a store relay treats the requests that it matches. The zero value passes
// all of them on.
type Trouble struct {
	// Match chooses the requests; nil is all of them.
	Match func(*http.Request) bool
	// Status is answered instead of asking the store; 0 asks it. Code is S3's word for it;
	// empty means "ServiceUnavailable".
	Status int
	Code   string
	// Hang takes requests and never answers; the store does not see them.
	Hang bool
	// Delay comes before the store is asked.
	Delay time.Duration
	// LoseAnswers breaks the connection after the store has done what it was asked.
	LoseAnswers bool
}

// StoreRelay stands before an object store and speaks HTTP. Requests keep their host, so that
// signatures hold. What it passes on is noted in a journal.
type StoreRelay struct {
	name    string
	journal *Journal
	server  *httptest.Server
	proxy   *httputil.ReverseProxy

	mu      sync.Mutex // guards the fields below
	trouble Trouble
	changed chan struct{} // closed and renewed by each change
}

// NewStoreRelay stands before the store at target, host:port. The journal may be shared by
// several relays: name says which of them a request came through.
func NewStoreRelay(t testing.TB, name, target string, journal *Journal) *StoreRelay {
	t.Helper()
	return NewStoreRelayOn(t, "127.0.0.1", name, target, journal)
}

// NewStoreRelayOn is [NewStoreRelay] at an address of the given host.
func NewStoreRelayOn(t testing.TB, host, name, target string, journal *Journal) *StoreRelay {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	r := &StoreRelay{name: name, journal: journal, changed: make(chan struct{})}
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: target})
			p.Out.Host = p.In.Host
		},
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Listener.Close()
	r.server.Listener = listener
	r.server.Start()
	t.Cleanup(func() {
		r.Set(Trouble{})
		r.server.CloseClientConnections()
		r.server.Close()
		transport.CloseIdleConnections()
	})
	return r
}

// Addr is where the relay stands, host:port.
func (r *StoreRelay) Addr() string { return r.server.Listener.Addr().String() }

// Set changes what happens to requests from now on. Those that hang break off.
func (r *StoreRelay) Set(t Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = t
	close(r.changed)
	r.changed = make(chan struct{})
}

// ServeHTTP takes one request.
func (r *StoreRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	t, changed := r.trouble, r.changed
	r.mu.Unlock()
	if t.Match != nil && !t.Match(req) {
		t = Trouble{}
	}
	switch {
	case t.Hang:
		wait(req.Context(), changed, 0)
		panic(http.ErrAbortHandler)
	case t.Status != 0:
		r.refuse(w, req, t)
		return
	case t.Delay > 0:
		wait(req.Context(), nil, t.Delay)
	}
	r.pass(w, req, t.LoseAnswers)
}

// wait returns at the first of: the client has gone, the fault has changed, the time is over.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		over = time.After(d)
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-over:
	}
}

// refuse answers as S3 does.
func (r *StoreRelay) refuse(w http.ResponseWriter, req *http.Request, t Trouble) {
	io.Copy(io.Discard, req.Body)
	if t.Code == "" {
		t.Code = "ServiceUnavailable"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(t.Status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>A test says no.</Message><RequestId>e2e</RequestId></Error>`, t.Code)
}

func (r *StoreRelay) pass(w http.ResponseWriter, req *http.Request, lose bool) {
	note := Write{From: r.name, Method: req.Method, Path: req.URL.Path}
	writes := req.Method != http.MethodGet && req.Method != http.MethodHead
	var body bytes.Buffer
	if writes && !isMedia(req.URL.Path) {
		req.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(req.Body, &body), req.Body}
	}
	note.Asked = time.Now()
	answer := &watched{ResponseWriter: w, lose: lose}
	defer func() {
		note.At, note.Status, note.ETag, note.Body = time.Now(), answer.status, answer.Header().Get("ETag"), body.Bytes()
		if writes && r.journal != nil && answer.status != 0 {
			r.journal.add(note)
		}
	}()
	r.proxy.ServeHTTP(answer, req)
	if lose {
		panic(http.ErrAbortHandler)
	}
}

func isMedia(path string) bool {
	return strings.HasSuffix(path, ".m4s") || strings.HasSuffix(path, ".mp4")
}

// watched notes an answer's status and, when it is to be lost, keeps it to itself.
type watched struct {
	http.ResponseWriter
	lose   bool
	status int
}

func (w *watched) WriteHeader(status int) {
	if status >= 200 {
		w.status = status
	}
	if !w.lose {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.lose {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
