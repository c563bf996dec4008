package node

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/config"
)

func TestSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	log := slog.New(slog.DiscardHandler)
	names := []string{"127.0.0.1", "localhost"}
	now := time.Now()
	// ensure returns the serial number of what is there after it.
	ensure := func(names []string, now time.Time) string {
		t.Helper()
		if err := ensureSelfSigned(cert, key, names, now, log); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(pair.Leaf)
		for _, name := range names {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := ensure(names, now)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if again := ensure(names, now.Add(300*24*time.Hour)); again != first {
		t.Error("a certificate that holds was made anew")
	}
	late := ensure(names, now.Add(340*24*time.Hour))
	if late == first {
		t.Error("a certificate in its last month was kept")
	}
	named := ensure(append(names, "live.example.com"), now.Add(340*24*time.Hour))
	if named == late {
		t.Error("a certificate without the new name was kept")
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if mended := ensure(names, now.Add(340*24*time.Hour)); mended == named {
		t.Error("a certificate without its key was kept")
	}
}

func TestCertificateNames(t *testing.T) {
	c := config.Default()
	c.HTTP.PublicURL, c.Kaltura.Hostname = "https://live.example.com:8443/x", "ms1.example.com"
	c.RTMPS.Listen, c.HTTPS.Listen = "10.1.2.3:1936", ":8443"
	names := certificateNames(c)
	for _, want := range []string{"127.0.0.1", "::1", "localhost", "live.example.com", "ms1.example.com", "10.1.2.3"} {
		if !slices.Contains(names, want) {
			t.Errorf("%v lacks %s", names, want)
		}
	}
	if slices.Contains(names, "") || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("got %q", names)
	}
}

// A folder that can't be written is told with the key.
func TestSelfSignedNowhere(t *testing.T) {
	c := config.Default()
	c.TLS.SelfSigned, c.Data = true, filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.Data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificate(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "tls.selfSigned") {
		t.Errorf("got %v", err)
	}
}
