package s3_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/storagetest"
)

// TestMain lets no test see what this machine's environment says of AWS: credentials, a region, or a bundle of
// certificates that each store would read.
func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

// open returns a store on a bucket of the gateway; change may alter its configuration.
func open(t testing.TB, g *storagetest.Gateway, bucket string, change func(*s3.Config)) *s3.Store {
	t.Helper()
	cfg := s3.Config{
		URL:         g.URL(bucket),
		Credentials: credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, storagetest.GatewaySecret, ""),
		Logger:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// opener gives each test of a suite a prefix of its own.
func opener(t *testing.T, g *storagetest.Gateway) func(t *testing.T) *s3.Store {
	var n atomic.Int64
	return func(t *testing.T) *s3.Store {
		return open(t, g, fmt.Sprintf("live/p%d", n.Add(1)), nil)
	}
}

func TestConformance(t *testing.T) {
	g := storagetest.StartGateway(t, "live", "whole")
	openNext := opener(t, g)
	storagetest.Run(t, func(t *testing.T) storage.Store { return openNext(t) })
	t.Run("without a prefix", func(t *testing.T) {
		s := open(t, g, "whole", nil)
		if _, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 1 || list[0].Key != "a/b" {
			t.Errorf("List = %+v, %v", list, err)
		}
	})
}

func TestUploads(t *testing.T) {
	openNext := opener(t, storagetest.StartGateway(t, "live"))
	storagetest.RunUploads(t, func(t *testing.T) storagetest.UploadStore { return openNext(t) })
}

// TestOverTLS is what production is: the SDK then sends its checksum behind the body instead of
// a hash of the body before it.
func TestOverTLS(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	cert, key := selfSigned(t)
	g.Stop()
	g.Flags = []string{"--cert", cert, "--key", key}
	g.Start()
	t.Setenv("AWS_CA_BUNDLE", cert)
	var n atomic.Int64
	openNext := func(t *testing.T) *s3.Store {
		return open(t, g, fmt.Sprintf("live/p%d", n.Add(1)), func(c *s3.Config) { c.URL = strings.Replace(c.URL, "http%3A", "https%3A", 1) })
	}
	storagetest.Run(t, func(t *testing.T) storage.Store { return openNext(t) })
	storagetest.RunUploads(t, func(t *testing.T) storagetest.UploadStore { return openNext(t) })
}

// selfSigned makes a certificate for 127.0.0.1 and returns the files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}
