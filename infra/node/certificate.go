package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"klive/gateway"
	"klive/infra/config"
)

// A certificate of klive's own lasts a year. It is made anew at a start in its last month,
// or when klive has got another name.
const (
	selfSignedLife  = 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour
)

// CertificateFiles are the files that encrypted listeners take their certificate from:
// tls.cert and tls.key, or with tls.selfSigned those that klive writes under data.
func CertificateFiles(c *config.Config) (cert, key string) {
	if !c.TLS.SelfSigned {
		return c.TLS.Cert, c.TLS.Key
	}
	dir := filepath.Join(c.Data, "tls")
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// openCertificate opens the certificate of the encrypted listeners, made before if it is
// to be klive's own.
func openCertificate(c *config.Config, log *slog.Logger) (*gateway.CertFile, error) {
	cert, key := CertificateFiles(c)
	if c.TLS.SelfSigned {
		if err := ensureSelfSigned(cert, key, certificateNames(c), time.Now(), log); err != nil {
			return nil, fmt.Errorf("can't make a certificate (key tls.selfSigned): %w", err)
		}
	}
	return gateway.NewCertFile(cert, key, log)
}

// certificateNames are the host names and IP addresses under which this klive is reached.
func certificateNames(c *config.Config) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil {
		names = append(names, u.Hostname())
	}
	for _, listen := range []string{c.RTMPS.Listen, c.HTTPS.Listen} {
		host, _, err := net.SplitHostPort(listen)
		if ip := net.ParseIP(host); err == nil && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
	}
	names = append(names, c.Kaltura.Hostname)
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" })
}

// ensureSelfSigned leaves a certificate that still holds and has all the names as it is,
// and writes a new pair otherwise.
func ensureSelfSigned(cert, key string, names []string, now time.Time, log *slog.Logger) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err == nil && holds(pair.Leaf, names, now) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("klive's own certificate can't be used and is made anew", "cert", cert, "error", err)
	}
	certPEM, keyPEM, err := selfSign(names, now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cert), 0o755); err != nil {
		return err
	}
	if err := replaceFile(key, keyPEM, 0o600); err != nil {
		return err
	}
	if err := replaceFile(cert, certPEM, 0o644); err != nil {
		return err
	}
	log.Info("made a self-signed certificate", "cert", cert, "names", names, "expires", now.Add(selfSignedLife))
	return nil
}

func holds(leaf *x509.Certificate, names []string, now time.Time) bool {
	if now.Before(leaf.NotBefore) || now.Add(selfSignedRenew).After(leaf.NotAfter) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

// selfSign makes an ECDSA P-256 key and a certificate for it that is its own issuer.
func selfSign(names []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "klive"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), // an hour for clocks that are late
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// replaceFile writes a file that is there as a whole or not at all.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, content, mode); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
