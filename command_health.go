package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

type healthCmd struct {
	Alive bool `help:"Ask only whether the process lives: for platforms that end what is not healthy. A klive that waits for its bus, or holds encoders while it ends, takes no work and is alive."`
}

// Run asks the process on this host under this configuration for its readiness, or whether it
// lives. It fails when that does not take work, or does not answer. A gateway that is full is
// healthy, and says so: what it has goes on.
func (h healthCmd) Run(ctx context.Context, g *global) error {
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	path, key := "/readyz", "ready"
	if h.Alive {
		path, key = "/healthz", "alive"
	}
	status, text, err := client.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	state := strings.TrimSpace(string(text))
	if g.JSON {
		if err := printJSON(os.Stdout, map[string]any{key: status == http.StatusOK, "state": state}); err != nil {
			return err
		}
	}
	if status != http.StatusOK {
		return errors.New(state)
	}
	if !g.JSON {
		fmt.Println(state)
	}
	return nil
}
