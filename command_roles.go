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
	Roles []string `default:"live" help:"What the worker does: live."`
}

// Run runs a worker until a signal ends it.
func (w *workerCmd) Run(ctx context.Context, g *global) error {
	for _, role := range w.Roles {
		switch role {
		case "live":
		case "transcode":
			return fmt.Errorf("--roles transcode: this release does not transcode; the one role of a worker is live")
		default:
			return fmt.Errorf("--roles %s: want live", role)
		}
	}
	return g.runNode(ctx, node.LiveWorker, nil)
}
