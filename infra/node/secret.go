package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"klive/infra/config"
	"klive/infra/kaltura/controlplane"
)

// DemoPartner is the partner of the embedded control plane's first entry.
const DemoPartner = controlplane.DemoPartner

// secretFile holds the embedded control plane's admin secret, so that commands on this
// machine can sign sessions while the service runs.
const secretFile = "control.secret"

// ControlSecret is the admin secret of the embedded control plane's partner: control.secret,
// or what the first start drew.
func ControlSecret(c *config.Config) (string, error) {
	if s := c.Control.Secret.Reveal(); s != "" {
		return s, nil
	}
	b, err := os.ReadFile(filepath.Join(c.Data, secretFile))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// ensureControlSecret is ControlSecret, and draws one when there is none yet.
func ensureControlSecret(c *config.Config) (string, error) {
	s, err := ControlSecret(c)
	if err == nil && s != "" {
		return s, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	s = hex.EncodeToString(raw)
	path := filepath.Join(c.Data, secretFile)
	if err := os.WriteFile(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("can't keep the control plane's secret: %w; choose a data folder that can be written (key data)", err)
	}
	return s, nil
}
