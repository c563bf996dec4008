package main

import (
	"fmt"
	"os"
	"time"

	"klive/infra/kaltura"
)

type ksCmd struct {
	User       string        `default:"klive" help:"User name in the session."`
	Admin      bool          `default:"true" negatable:"" help:"An administrator's session."`
	Expiry     time.Duration `default:"24h" help:"How long the session lasts."`
	Privileges string        `default:"disableentitlement" help:"Comma-separated privileges."`
}

// Run signs a session with the partner's secret, which it does not show.
func (k *ksCmd) Run(g *global) error {
	c, _, err := g.settings()
	if err != nil {
		return err
	}
	if k.Expiry < time.Second || k.Expiry > 365*24*time.Hour {
		return fmt.Errorf("--expiry %v: want 1s to 8760h", k.Expiry)
	}
	partner, secret, err := partnerSecret(c)
	if err != nil {
		return err
	}
	expires := time.Now().Add(k.Expiry).Truncate(time.Second)
	session := kaltura.KS{PartnerID: partner, Expiry: expires.Unix(), UserID: k.User, Privileges: k.Privileges}
	if k.Admin {
		session.Type = kaltura.SessionAdmin
	}
	text, err := kaltura.SignV2(secret, session)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, map[string]any{"ks": text, "partnerId": partner, "expires": expires.UTC()})
	}
	fmt.Println(text)
	return nil
}
