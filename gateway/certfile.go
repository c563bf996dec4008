package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often a certificate's files are looked at, at most.
const certCheck = time.Second

// CertFile is a certificate with its key that follows its files: a new pair is taken over
// while connections go on, a bad one is passed over and logged. Its GetCertificate belongs
// into a tls.Config; RTMPS and HTTPS share one.
type CertFile struct {
	cert, key string
	log       *slog.Logger

	// mu guards the fields below.
	mu      sync.Mutex
	current *tls.Certificate
	// seen are the states of both files when they were last read.
	seen    [2]fileState
	checked time.Time
}

// fileState tells versions of a file apart.
type fileState struct {
	size     int64
	modified time.Time
}

// NewCertFile loads a certificate chain and its key, both PEM. log gets a line for each
// change; nil is silent.
func NewCertFile(cert, key string, log *slog.Logger) (*CertFile, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &CertFile{cert: cert, key: key, log: log, checked: time.Now()}
	seen, err := c.stat()
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.seen = seen
	return c, nil
}

// GetCertificate returns the certificate in force; see [tls.Config.GetCertificate].
func (c *CertFile) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certCheck {
		c.checked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh loads the files anew when they have changed. A pair that can't be loaded is logged
// once and tried again when either file changes: they may be replaced one after the other.
func (c *CertFile) refresh() {
	seen, err := c.stat()
	if seen == c.seen {
		return
	}
	c.seen = seen
	if err == nil {
		err = c.load()
	}
	if err != nil {
		c.log.Warn("the changed TLS certificate is not used", "cert", c.cert, "key", c.key, "error", err)
		return
	}
	c.log.Info("TLS certificate reloaded", "cert", c.cert, "expires", c.current.Leaf.NotAfter)
}

func (c *CertFile) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.current = &pair
	return nil
}

// stat returns the states of the files; the state of a missing one is zero.
func (c *CertFile) stat() (seen [2]fileState, err error) {
	for i, name := range []string{c.cert, c.key} {
		info, statErr := os.Stat(name)
		if statErr != nil {
			if err == nil {
				err = statErr
			}
			continue
		}
		seen[i] = fileState{info.Size(), info.ModTime()}
	}
	return seen, err
}
