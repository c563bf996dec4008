package s3_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"

	"klive/storage/s3"
	"klive/storage/storagetest"
)

// errLost is what a client sees when the connection breaks behind its request.
var errLost = errors.New("connection reset by peer")

// wire is a transport in which things happen to requests. It counts them by what they are.
type wire struct {
	base http.RoundTripper
	// on decides what happens to the n-th request (from 1) of a kind; nil lets all pass.
	on func(kind string, n int, r *http.Request) fate

	// mu guards the field below.
	mu    sync.Mutex
	count map[string]int
}

// fate is what happens to a request. The zero value lets it pass.
type fate struct {
	before   error                // it fails without reaching the server
	answer   *http.Response       // it gets this without reaching the server
	lost     bool                 // the server did it, its answer is lost
	response func(*http.Response) // changes the answer
}

// kind names a request: the method, and the subresource that decides what it is.
func kind(r *http.Request) string {
	for _, sub := range []string{"uploadId", "uploads", "delete", "list-type"} {
		if r.URL.Query().Has(sub) {
			return r.Method + " " + sub
		}
	}
	return r.Method
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	k := kind(r)
	w.mu.Lock()
	if w.count == nil {
		w.count = map[string]int{}
	}
	w.count[k]++
	n := w.count[k]
	w.mu.Unlock()
	var f fate
	if w.on != nil {
		f = w.on(k, n, r)
	}
	if f.before != nil || f.answer != nil {
		if r.Body != nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		if f.answer != nil {
			f.answer.Request = r
		}
		return f.answer, f.before
	}
	resp, err := w.base.RoundTrip(r)
	if err == nil && f.lost {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return nil, errLost
	}
	if err == nil && f.response != nil {
		f.response(resp)
	}
	return resp, err
}

// counted returns how many requests of a kind there were.
func (w *wire) counted(kind string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[kind]
}

// answer makes an error of S3.
func answer(status int, code, message string) *http.Response {
	body := "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), ProtoMajor: 1, ProtoMinor: 1}
}

// counter returns the value of a metric with these labels.
func counter(t *testing.T, r *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := true
			for _, l := range m.GetLabel() {
				want, ok := labels[l.GetName()]
				match = match && (!ok || want == l.GetValue())
			}
			if match {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// through returns a store whose requests go through w to the gateway.
func through(t *testing.T, g *storagetest.Gateway, bucket string, w *wire, change func(*s3.Config)) *s3.Store {
	t.Helper()
	base := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(base.CloseIdleConnections)
	w.base = base
	return open(t, g, bucket, func(c *s3.Config) {
		c.HTTPClient = &http.Client{Transport: w}
		if change != nil {
			change(c)
		}
	})
}

// alone returns a store without a server: on answers everything.
func alone(t *testing.T, on func(kind string, n int, r *http.Request) fate, change func(*s3.Config)) (*s3.Store, *wire) {
	t.Helper()
	w := &wire{on: on}
	cfg := s3.Config{
		URL: "s3://live?region=eu-west-1", HTTPClient: &http.Client{Transport: w},
		Credentials: credentials.NewStaticCredentialsProvider("key", "hush", ""),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}
