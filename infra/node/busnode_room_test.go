package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/check/fault"
	"klive/infra/config"
)

// busNodeEnv makes the test program a bus node, which may have limits of its own: data folder, bus.listen and admin.listen,
// with spaces between.
const busNodeEnv = "KLIVE_TEST_BUS_NODE"

// serveBusNode is a bus node until it is killed.
func serveBusNode(f []string) error {
	c := config.Default()
	c.Data, c.Bus.Listen, c.Admin.Listen, c.RTMP.Listen, c.HTTP.Listen = f[0], f[1], f[2], "", ""
	_, err := StartBus(context.Background(), Config{Settings: c, Version: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Registry: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	select {}
}

// TestBusNodeUnderALowLimit: strangers take all the connections that a bus node with few file descriptors has to give. It
// refuses the rest, says that it is full, and goes on storing what those bring that were connected.
func TestBusNodeUnderALowLimit(t *testing.T) {
	const limit, strangers = 400, 300 // 200 are for clients
	ports := fault.Ports(t, 2)
	ask := func(ctx context.Context) (string, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ports[1]+"/readyz", nil)
		if err != nil {
			return "", err
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = errors.New(string(text))
		}
		return string(text), err
	}
	p := fault.Start(t, fault.Spec{
		Name: "bus", Path: "/bin/sh", Args: []string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0"`, limit), os.Args[0]},
		Env: append(os.Environ(), busNodeEnv+"="+strings.Join([]string{t.TempDir(), ports[0], ports[1]}, " ")),
		Log: filepath.Join(t.TempDir(), "log"), Ready: func(ctx context.Context) error { _, err := ask(ctx); return err },
	})
	defer http.DefaultClient.CloseIdleConnections()
	says := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			last := time.Now().After(end) // a machine may stand still while one is asked
			text, err := ask(t.Context())
			if err == nil && strings.HasPrefix(text, want) {
				return
			}
			if last {
				t.Fatalf("/readyz says %q (%v), want %q", text, err, want)
			}
		}
	}
	says("ready")
	control, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	var idle []net.Conn
	for range strangers {
		if c, err := net.DialTimeout("tcp", ports[0], 5*time.Second); err == nil {
			idle = append(idle, c)
		}
	}
	says(Full)
	for n := range 8 { // each opens files of its own
		b, err := control.Bucket(t.Context(), bus.BucketConfig{Name: fmt.Sprintf("bucket%d", n)})
		for i := 0; err == nil && i < 10; i++ {
			_, err = b.Put(t.Context(), fmt.Sprint(i), []byte("x"))
		}
		if err != nil {
			t.Errorf("bucket %d: %v", n, err)
		}
	}
	for _, c := range idle {
		c.Close()
	}
	says("ready")
	for _, want := range []string{"may run out of file descriptors", "clients are refused as they come", "hardly room for more connections", "has room for connections again"} {
		if n := len(p.Said(want)); n < 1 || n > 3 { // once a minute, on a machine of any speed
			t.Errorf("the log says %d times that %q", n, want)
		}
	}
	if lines := p.Said("Accept Error"); len(lines) > 0 {
		t.Errorf("the last descriptors were taken: %s", lines[0])
	}
}
