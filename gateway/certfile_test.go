package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writePair makes a self-signed certificate and writes it with its key.
func writePair(t *testing.T, cert, key, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pk}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertFileReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		var log bytes.Buffer
		if _, err := NewCertFile(cert, key, nil); err == nil || !strings.Contains(err.Error(), "cert.pem") {
			t.Errorf("missing files: %v", err)
		}
		writePair(t, cert, key, "one")
		c, err := NewCertFile(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		name := func() string {
			got, err := c.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got.Leaf.Subject.CommonName
		}
		writePair(t, cert, key, "second")
		if got := name(); got != "one" {
			t.Errorf("within a second of the last look: %s", got)
		}
		time.Sleep(certCheck)
		if got := name(); got != "second" {
			t.Errorf("after the change: %s", got)
		}
		if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(certCheck)
			if got := name(); got != "second" {
				t.Errorf("after a bad change: %s", got)
			}
		}
		if n := strings.Count(log.String(), "not used"); n != 1 {
			t.Errorf("%d lines about the bad pair:\n%s", n, log.String())
		}
		writePair(t, cert, key, "the third")
		time.Sleep(certCheck)
		if got := name(); got != "the third" {
			t.Errorf("after the repair: %s", got)
		}
	})
}
