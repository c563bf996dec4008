package kaltura_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// overSocket is a client of a server on a loopback socket, and what the client logs.
func overSocket(t *testing.T, url string, timeout time.Duration) (*kaltura.Client, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	return client(t, nil, func(c *kaltura.ClientConfig) {
		c.URL, c.Timeout = url, timeout
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
	}), log
}

// refuseSession is how the API answers a session that it does not accept.
const refuseSession = `{"code":"INVALID_KS","message":"session rejected","objectType":"KalturaAPIException","args":{"KSID":"x","ERR_CODE":"-1","ERR_DESC":"INVALID_STR"}}`

// large writes 100 MB.
func large(w io.Writer) {
	piece := bytes.Repeat([]byte(" "), 1<<20)
	for range 100 {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// gzipBomb is 100 MB in little: a stream of gzip may be many, one after the other.
func gzipBomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(bytes.Repeat([]byte(" "), 1<<20))
	z.Close()
	return bytes.Repeat(b.Bytes(), 100)
}

// badAnswer is something that answers instead of the API.
type badAnswer struct {
	name   string
	answer http.HandlerFunc
	says   []string
	calls  int64         // requests; 0 is one
	within time.Duration // kaltura.timeout; 0 is a minute
}

func badAnswers(elsewhere string) []badAnswer {
	const to = "check kaltura.url"
	bomb := gzipBomb()
	return []badAnswer{
		{"web page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<!DOCTYPE html><html><body>Please log in</body></html>")
		}, []string{"web page", to}, 0, 0},
		{"error page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) },
			[]string{"HTTP status 503", to}, 0, 0},
		{"redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+"/api_v3/?ks=secret", http.StatusTemporaryRedirect)
		}, []string{"redirects to " + elsewhere, "set kaltura.url"}, 0, 0},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"id":"0_rki`)
		}, []string{"broke off", to}, 3, 0},
		{"half a document", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"id":"0_rki`) },
			[]string{"no complete JSON", to}, 0, 0},
		{"nothing", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, []string{"kaltura.timeout", to}, 0, time.Second},
		{"a byte now and then", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, []string{"kaltura.timeout", to}, 0, time.Second},
		{"100 MB", func(w http.ResponseWriter, _ *http.Request) { large(w) }, []string{"larger than 4194304 bytes", to}, 0, 0},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb)
		}, []string{"larger than 4194304 bytes", to}, 0, 0},
		{"broken gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "no gzip")
		}, []string{"broke off", to}, 3, 0},
		{"endless headers", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 100))
			}
		}, []string{"headers exceeded", to}, 3, 0},
	}
}

// What answers instead of the API, or not at all, ends a call in bounded time and memory with an
// error that says what to do, and that callers can tell from a no (rows 8 and 48).
func TestBadAnswers(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, c := range badAnswers(other.URL) {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				if err := r.ParseForm(); err != nil { // as servers do; only then they hear that a client leaves
					t.Error(err)
				}
				c.answer(w, r)
			}))
			defer server.Close()
			a, _ := overSocket(t, server.URL, cmp.Or(c.within, time.Minute))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := a.RegisterMediaServer(t.Context(), 102, kaltura.RegisterRequest{EntryID: "0_rkij47dr"})
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if !kaltura.Unavailable(err) || kaltura.IsAPIError(err) {
				t.Errorf("it is not told from a no: %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(fmt.Sprint(err), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "ks=") {
				t.Errorf("the error shows a session: %v", err)
			}
			if n := calls.Load(); n != max(1, c.calls) {
				t.Errorf("%d requests, want %d", n, max(1, c.calls))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 48<<20 || took > 50*time.Second {
				t.Errorf("it took %v and %d bytes", took, used)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests, with a session in them, went to another host", n)
	}
}

// Nobody there at all, and somebody who speaks no HTTP.
func TestNoAPIThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
			conn.Close()
		}
	}()
	for _, name := range []string{"no HTTP", "nobody"} {
		c, _ := overSocket(t, "http://"+address, 5*time.Second)
		_, err = c.LiveStreamGet(t.Context(), 102, "0_rkij47dr")
		if !kaltura.Unavailable(err) || !strings.Contains(err.Error(), "check kaltura.url and the way to it") {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
		<-ended
	}
}

// A wrong secret: the session is signed anew once, the call made again once, and the log says
// which settings to look at.
func TestWrongSecretOverASocket(t *testing.T) {
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, err := kaltura.ParseKS(r.FormValue("ks"), func(int) []string { return []string{"another secret"} })
		if err == nil {
			t.Error("the session is valid")
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, refuseSession)
	}))
	defer server.Close()
	c, log := overSocket(t, server.URL, 5*time.Second)
	_, err := c.RegisterMediaServer(t.Context(), 102, kaltura.RegisterRequest{EntryID: "0_rkij47dr"})
	if !kaltura.IsCode(err, kaltura.CodeInvalidKS) || kaltura.Unavailable(err) || calls.Load() != 2 {
		t.Errorf("%v after %d requests", err, calls.Load())
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "kaltura.partnerId or kaltura.secret is wrong") {
		t.Errorf("%d errors in the log:\n%s", n, log)
	}
}

// A clock that is off is named, with how much and in which direction, and does not keep
// the client from signing sessions that the API takes.
func TestClockOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		skew  time.Duration // the API's clock minus ours
		says  string
		calls int64
	}{
		{"behind by an hour", time.Hour, "this host's clock is 1h0m0s behind that of Kaltura's API", 1},
		{"ahead by an hour", -time.Hour, "ahead of that of Kaltura's API", 1},
		{"behind by more than a session lasts", 30 * time.Hour, "this host's clock is 30h0m0s behind that of Kaltura's API", 2},
		{"right", 0, "", 1},
		{"seconds off", 20 * time.Second, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				now := time.Now().Add(c.skew)
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
				ks, err := kaltura.ParseKS(r.FormValue("ks"), func(int) []string { return []string{clientSecret} })
				if err != nil {
					t.Error(err)
				}
				if ks.Expiry <= now.Unix() {
					io.WriteString(w, refuseSession)
					return
				}
				io.WriteString(w, `{"id":"0_rkij47dr"}`)
			}))
			defer server.Close()
			a, log := overSocket(t, server.URL, 5*time.Second)
			for range 2 {
				if _, err := a.LiveStreamGet(t.Context(), 102, "0_rkij47dr"); err != nil {
					t.Error(err)
				}
			}
			if n := calls.Load(); n != c.calls+1 {
				t.Errorf("%d requests", n)
			}
			lines := strings.Count(log.String(), "clock")
			if c.says == "" && lines > 0 || c.says != "" && (!strings.Contains(log.String(), c.says) || strings.Count(log.String(), "set the clock") != 1) {
				t.Errorf("the log says:\n%s", log)
			}
		})
	}
}

// A clock that is off stands beside the settings when the API refuses sessions.
func TestClockOffAndSessionRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		io.WriteString(w, refuseSession)
	}))
	defer server.Close()
	c, log := overSocket(t, server.URL, 5*time.Second)
	if _, err := c.LiveStreamGet(t.Context(), 102, "0_rkij47dr"); !kaltura.IsCode(err, kaltura.CodeInvalidKS) || !strings.Contains(err.Error(), "clock is 1h0m0s ahead") {
		t.Error(err)
	}
	const words = "Kaltura refuses sessions that were just signed: this host's clock is"
	if !strings.Contains(log.String(), words) || !strings.Contains(log.String(), "ahead of that of Kaltura's API, or kaltura.partnerId or kaltura.secret is wrong") {
		t.Errorf("the log says:\n%s", log)
	}
}
