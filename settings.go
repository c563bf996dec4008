package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"klive/infra/config"
	"klive/infra/node"
	"klive/infra/telemetry"
)

// settings reads the configuration that a command runs under.
func (g *global) settings() (*config.Config, []config.Warning, error) {
	return config.Load(g.file(), os.Environ())
}

// file is the configuration file's name; empty when there is none.
func (g *global) file() string { return cmp.Or(g.Config, os.Getenv(config.FileEnv)) }

// logger makes the process's logger. The level may change while it is in use.
func logger(c *config.Config, level *slog.LevelVar) (*slog.Logger, error) {
	l, err := telemetry.ParseLevel(c.Log.Level)
	if err != nil {
		return nil, err
	}
	level.Set(l)
	return telemetry.NewLogger(os.Stderr, telemetry.LogConfig{Format: c.Log.Format, Level: level})
}

// apiURL is where this configuration's Kaltura API answers, as seen from this machine.
func apiURL(c *config.Config) (string, error) {
	if c.Kaltura.URL != "" {
		return c.Kaltura.URL, nil
	}
	if c.Admin.Listen == "" {
		return "", fmt.Errorf("there is no API to talk to: kaltura.url and admin.listen are both empty")
	}
	return "http://" + node.Dialable(c.Admin.Listen), nil
}

// partnerSecret is the admin secret of the partner whose entries the commands manage:
// kaltura.secret in eCDN mode, else that of klive's own control plane, in this process or
// in a control role.
func partnerSecret(c *config.Config) (partner int, secret string, err error) {
	if c.Kaltura.URL != "" {
		if secret := c.Control.Secret.Reveal(); secret != "" && c.Kaltura.PartnerID <= 0 {
			return node.DemoPartner, secret, nil
		}
		if c.Kaltura.PartnerID <= 0 { // 0 stands for the media servers' partner too
			return 0, "", fmt.Errorf("entries of an external Kaltura are managed there; this command works on the embedded control plane, or with kaltura.partnerId and kaltura.secret of one partner")
		}
		return c.Kaltura.PartnerID, c.Kaltura.Secret.Reveal(), nil
	}
	secret, err = node.ControlSecret(c)
	if err != nil {
		return 0, "", fmt.Errorf("the embedded control plane has not been started in %s yet; run %q first: %w", c.Data, "klive serve", err)
	}
	return node.DemoPartner, secret, nil
}

// warn prints what is odd about the configuration and yet no error.
func warn(warnings []config.Warning) {
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "klive: warning:", strings.TrimSpace(w.String()))
	}
}
