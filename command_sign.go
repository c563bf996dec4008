package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"klive/infra/live"
	"klive/infra/node"
	"klive/storage/origin"
)

type signCmd struct {
	Entry string        `arg:"" help:"The live entry, or \"all\" for a token that opens every entry."`
	For   time.Duration `default:"4h" help:"How long the token lasts."`
}

// Run signs a viewer's token with the first of viewer.keys, which it does not show.
func (s *signCmd) Run(g *global) error {
	c, _, err := g.settings()
	if err != nil {
		return err
	}
	if s.Entry != origin.ScopeAll && !live.ValidEntryID(s.Entry) {
		return fmt.Errorf("%q is no entry; it looks like 0_rkij47dr", s.Entry)
	}
	if s.For < time.Second || s.For > 366*24*time.Hour {
		return fmt.Errorf("--for %v: want 1s to 8784h", s.For)
	}
	keys, err := c.Viewer.TokenKeys()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("viewer.keys is empty: everybody may watch, and no address needs a token")
	}
	expires := time.Now().Add(s.For).Truncate(time.Second)
	token := origin.Sign(origin.Key{ID: keys[0].ID, Secret: keys[0].Secret.Reveal()}, s.Entry, expires)
	address := ""
	if s.Entry != origin.ScopeAll {
		address = node.SignedPlayURL(c, s.Entry, token)
	}
	if g.JSON {
		return printJSON(os.Stdout, map[string]any{"token": token, "url": address, "expires": expires.UTC()})
	}
	if address == "" {
		address = token
	}
	fmt.Println(address)
	return nil
}
