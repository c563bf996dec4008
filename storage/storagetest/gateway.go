package storagetest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Gateway is a real S3 server (versitygw) over a folder, in a process of its own.
type Gateway struct {
	// Endpoint is its address, http://127.0.0.1:port.
	Endpoint string
	// Dir is the folder: each folder in it is a bucket, each file in that an object.
	Dir string
	// Flags are given to the server from its next Start on, such as "--readonly".
	Flags []string

	t        testing.TB
	binary   string
	versions string
	address  string
	process  *exec.Cmd // nil while it is stopped
	exited   chan struct{}
	output   output
}

// The credentials of the gateway.
const (
	GatewayKey    = "test"
	GatewaySecret = "testsecret"
)

// StartGateway starts a server with the given buckets until the test ends. The test is skipped
// when this machine has no versitygw ("make setup-test" installs it). Old versions of the
// objects are kept in the folder "versions" beside Dir for buckets that ask for it.
func StartGateway(t testing.TB, buckets ...string) *Gateway {
	t.Helper()
	binary := GatewayBinary(t)
	root := t.TempDir()
	g := &Gateway{t: t, binary: binary, Dir: filepath.Join(root, "buckets"), versions: filepath.Join(root, "versions")}
	for _, dir := range append([]string{g.versions, g.Dir}, g.paths(buckets)...) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.address = port.Addr().String()
	port.Close()
	g.Endpoint = "http://" + g.address
	t.Cleanup(func() {
		g.Stop()
		if t.Failed() {
			t.Logf("versitygw said:\n%s", g.output.String())
		}
	})
	g.Start()
	return g
}

func (g *Gateway) paths(buckets []string) []string {
	var out []string
	for _, b := range buckets {
		out = append(out, filepath.Join(g.Dir, b))
	}
	return out
}

// GatewayBinary returns the path of versitygw, or skips the test where this machine has none.
func GatewayBinary(t testing.TB) string {
	t.Helper()
	path := findGateway()
	if path == "" {
		t.Skip("SKIP: there is no versitygw here; \"make setup-test\" installs it")
	}
	return path
}

// findGateway looks where the Makefile puts it, then in the usual places.
func findGateway() string {
	const name = "versitygw"
	for dir, err := os.Getwd(); err == nil; dir = filepath.Dir(dir) {
		if path, err := exec.LookPath(filepath.Join(dir, ".tools", "bin", name)); err == nil {
			return path
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if home, err := os.UserHomeDir(); err == nil {
		if path, err := exec.LookPath(filepath.Join(home, "go", "bin", name)); err == nil {
			return path
		}
	}
	return ""
}

// URL returns the address of a bucket, or of a prefix of one, for storage.url.
func (g *Gateway) URL(bucket string) string {
	return "s3://" + bucket + "?region=us-east-1&pathStyle=true&endpoint=" + url.QueryEscape(g.Endpoint)
}

// Start starts the server again after Stop, over what it held, and waits until it listens.
func (g *Gateway) Start() {
	g.t.Helper()
	args := append([]string{"--port", g.address, "--keep-alive", "--quiet"}, g.Flags...)
	cmd := exec.Command(g.binary, append(args, "posix", "--versioning-dir", g.versions, g.Dir)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+GatewayKey, "ROOT_SECRET_KEY="+GatewaySecret)
	cmd.Stdout, cmd.Stderr = &g.output, &g.output
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.process, g.exited = cmd, make(chan struct{})
	go func() {
		defer close(g.exited)
		_ = cmd.Wait() // killed, as a rule
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.await(ctx); err != nil {
		g.t.Fatalf("versitygw did not start: %v\n%s", err, g.output.String())
	}
}

// await waits until the port answers.
func (g *Gateway) await(ctx context.Context) error {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-g.exited:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop kills the server. What it holds stays.
func (g *Gateway) Stop() {
	if g.process == nil {
		return
	}
	_ = g.process.Process.Kill() // may have ended
	<-g.exited
	g.process = nil
}

// output keeps the last of what a process writes.
type output struct {
	// mu guards the field below.
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxOutput = 16 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if over := o.buf.Len() - maxOutput; over > 0 {
		o.buf.Next(over)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
