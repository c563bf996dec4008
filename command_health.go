package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"klive/infra/node"
)

type healthCmd struct{}

// Run asks the process on this host under this configuration for its readiness. It fails
// when that does not take work, or does not answer. A gateway that is full is healthy: what it
// has goes on.
func (healthCmd) Run(ctx context.Context, g *global) error {
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	status, text, err := client.call(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	state := strings.TrimSpace(string(text))
	if g.JSON {
		if err := printJSON(os.Stdout, map[string]any{"ready": status == http.StatusOK, "state": state}); err != nil {
			return err
		}
	}
	if status != http.StatusOK && !strings.HasPrefix(state, "not ready: "+node.Full) {
		return errors.New(state)
	}
	if !g.JSON {
		fmt.Println(state)
	}
	return nil
}
