package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/check/fault"
	"klive/infra/config"
)

// testSettings are on free ports with an empty data folder.
func testSettings(t *testing.T) *config.Config {
	t.Helper()
	c := config.Default()
	c.SRT.Listen, c.WebRTC.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Data = filepath.Join(t.TempDir(), "data")
	c.RTMP.Listen, c.HTTP.Listen, c.Admin.Listen = fault.Ports(t, 1)[0], fault.Ports(t, 1)[0], fault.Ports(t, 1)[0]
	return c
}

func start(t *testing.T, c *config.Config) (*Node, error) {
	t.Helper()
	return Start(t.Context(), Config{Settings: c, Version: "test", Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
}

// A start that fails says what to do, and leaves neither goroutines (TestMain looks) nor
// listeners nor a locked folder behind: after the repair the same settings start.
func TestStartFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*testing.T, *config.Config)
		repair func(*testing.T, *config.Config)
		says   []string
	}{
		{"data is a file", func(t *testing.T, c *config.Config) {
			if err := os.WriteFile(c.Data, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, c *config.Config) { os.Remove(c.Data) }, []string{"data folder", "key data"}},
		{"no admin listener", func(t *testing.T, c *config.Config) { c.Admin.Listen = "" },
			func(t *testing.T, c *config.Config) { c.Admin.Listen = fault.Ports(t, 1)[0] }, []string{"admin.listen", "kaltura.url"}},
		{"no certificate", func(t *testing.T, c *config.Config) {
			c.HTTPS.Listen, c.TLS.Cert, c.TLS.Key = fault.Ports(t, 1)[0], "/nosuch/cert.pem", "/nosuch/key.pem"
		}, func(t *testing.T, c *config.Config) { c.HTTPS.Listen = "" }, []string{"/nosuch/cert.pem", "tls.cert"}},
		{"API address with a path too much", func(t *testing.T, c *config.Config) {
			c.Kaltura.URL, c.Kaltura.Secret = "http://127.0.0.1:9/api_v3", "0123456789abcdef"
		}, func(t *testing.T, c *config.Config) { c.Kaltura.URL = "" }, []string{"kaltura.url", "/api_v3"}},
		{"store is a file", func(t *testing.T, c *config.Config) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.Storage.URL = "file://" + path
		}, func(t *testing.T, c *config.Config) { c.Storage.URL = "" }, []string{"storage"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := testSettings(t)
			c.spoil(t, settings)
			n, err := start(t, settings)
			if err == nil {
				n.Close(t.Context())
				t.Fatal("it started")
			}
			for _, word := range c.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			c.repair(t, settings)
			n, err = start(t, settings)
			if err != nil {
				t.Fatalf("after the repair: %v", err)
			}
			if err := n.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			n.Close(context.Background())
		})
	}
}

// Two nodes can't share a data folder, and the second leaves the first alone.
func TestFolderInUse(t *testing.T) {
	settings := testSettings(t)
	first, err := start(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close(context.Background())
	other := testSettings(t)
	other.Data = settings.Data
	if n, err := start(t, other); err == nil {
		n.Close(t.Context())
		t.Fatal("two nodes on one folder")
	} else if !strings.Contains(err.Error(), fmt.Sprint("held by process ", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if err := first.Ready(t.Context()); err != nil {
		t.Errorf("the first: %v", err)
	}
}

func TestStartNeedsItsConfig(t *testing.T) {
	if n, err := Start(t.Context(), Config{Settings: config.Default()}); err == nil {
		n.Close(t.Context())
		t.Error("a node without a log")
	}
}
