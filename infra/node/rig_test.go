package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/config"
	"klive/infra/publisher"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(busNodeEnv); settings != "" {
		fmt.Fprintln(os.Stderr, serveBusNode(strings.Fields(settings)))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// rig is a node on pipes with the embedded control plane, for virtual time.
type rig struct {
	t     *testing.T
	cfg   Config
	net   *check.Pipes
	log   *buffer
	calls *calls
	node  *Node
}

// newRig starts a node with the given settings over the defaults.
func newRig(t *testing.T, set func(*config.Config)) *rig {
	t.Helper()
	return newRigWith(t, set, func(*Config) {})
}

// newRigWith is newRig with changes of what the node gets beside its settings.
func newRigWith(t *testing.T, set func(*config.Config), with func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, net: check.NewPipes(), log: &buffer{}, calls: &calls{}}
	settings := config.Default()
	settings.Data = t.TempDir()
	settings.Kaltura.Hostname = "ms1.example.com"
	settings.Transcode.Encoder = noEncoder // virtual time has no subprocesses
	if set != nil {
		set(settings)
	}
	transport := &http.Transport{DialContext: r.net.Dialer("admin.listen"), DisableKeepAlives: true}
	r.cfg = Config{
		Settings: settings, Version: "test", Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listen: r.net.Listen, Transport: transport, Control: bustest.Start(t), Observe: r.calls.observe,
	}
	with(&r.cfg)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the node said:\n%s", r.log)
		}
	})
	r.start()
	t.Cleanup(func() { r.close() }) // once more where the test did it already: that does no harm
	return r
}

// start starts a node on what the one before it left: its bus and its data folder.
func (r *rig) start() {
	r.t.Helper()
	r.cfg.Registry = prometheus.NewRegistry()
	var err error
	if r.node, err = Start(r.t.Context(), r.cfg); err != nil {
		r.t.Fatalf("%v\n%s", err, r.log)
	}
}

func (r *rig) close() { r.node.Close(context.Background()) }

// encoder is one publisher with the clip that it plays.
type encoder struct {
	*publisher.Publisher
	clip *publisher.Clip
}

// publish connects an encoder for the demo entry.
func (r *rig) publish() *encoder {
	r.t.Helper()
	clip, err := publisher.NewSynthetic(publisher.Synthetic{GOP: time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := publisher.Dial(r.t.Context(), publisher.Config{
		URL:         "rtmp://klive/kLive/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1",
		DialContext: r.net.Dialer("rtmp.listen"),
	})
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.log)
	}
	return &encoder{p, clip}
}

// play sends the clip in real time for so long, or until the server ends the stream.
func (e *encoder) play(d time.Duration) error {
	return e.Play(context.Background(), publisher.Play{Clip: e.clip, Limit: d})
}

// get asks the public listener for a text.
func (r *rig) get(path string) string {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: r.net.Dialer("http.listen"), DisableKeepAlives: true}}
	res, err := client.Get("http://klive" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s answers %s: %s", path, res.Status, text)
	}
	return string(text)
}

// calls are the actions that reach the embedded API.
type calls struct {
	mu   sync.Mutex // guards the field below
	list []string
}

func (c *calls) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.list = append(c.list, r.URL.Query().Get("service")+"."+r.URL.Query().Get("action"))
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (c *calls) count(action string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.list {
		if a == action {
			n++
		}
	}
	return n
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// api answers Kaltura's API from a function of the call, without a network. An empty
// answer means that nobody is there.
type api func(call string, params url.Values) (contentType, body string)

func (a api) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	params, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	kind, text := a(strings.TrimSuffix(q.Get("service")+"."+q.Get("action"), "."), params)
	if text == "" {
		return nil, net.ErrClosed
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// bucket opens one of the control plane's buckets.
func (r *rig) bucket(name string) *bus.Bucket {
	r.t.Helper()
	b, err := r.cfg.Control.Bucket(r.t.Context(), bus.BucketConfig{Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}
