package main

import (
	"context"
	"fmt"

	"klive/infra/node"
)

type gatewayCmd struct{}

// Run runs a gateway until a signal ends it.
func (gatewayCmd) Run(ctx context.Context, g *global) error { return g.runNode(ctx, node.Gateway, nil) }

type originCmd struct{}

// Run runs an origin until a signal ends it.
func (originCmd) Run(ctx context.Context, g *global) error { return g.runNode(ctx, node.Origin, nil) }

type controlCmd struct{}

// Run runs the control plane and the console until a signal ends it.
func (controlCmd) Run(ctx context.Context, g *global) error { return g.runNode(ctx, node.Control, nil) }

type workerCmd struct {
	Roles []string `default:"live" help:"What the worker does: live (it owns entries), transcode (it makes the renditions of ladders), or both, joined by a comma."`
}

// Run runs a worker until a signal ends it.
func (w *workerCmd) Run(ctx context.Context, g *global) error {
	var roles node.Roles
	for _, role := range w.Roles {
		switch role {
		case "live":
			roles |= node.LiveWorker
		case "transcode":
			roles |= node.Transcode
		default:
			return fmt.Errorf("--roles %s: want live, transcode, or live,transcode", role)
		}
	}
	return g.runNode(ctx, roles, nil)
}
