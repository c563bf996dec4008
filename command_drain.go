package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"klive/infra/admin"
)

// drainPoll is how often "klive drain" looks whether the process has let go of everything.
const drainPoll = 500 * time.Millisecond

type drainCmd struct {
	Wait time.Duration `default:"-1s" help:"How long to wait for it at most; -1s is until gateway.drain and worker.drain are over, 0s does not wait."`
}

// Run has the klive that runs here take nothing on any more, and waits until it holds nothing:
// what a platform calls before it ends the process (Kubernetes: preStop). It succeeds also when
// the time is over, because the end comes all the same.
func (d *drainCmd) Run(ctx context.Context, g *global) error {
	c, _, err := g.settings()
	if err != nil {
		return err
	}
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	wait := d.Wait
	if wait < 0 {
		wait = c.Gateway.Drain + c.Worker.Drain
	}
	var held admin.Held
	if err := client.ask(ctx, http.MethodPost, "/v1/drain", nil, &held); err != nil {
		return err
	}
	for end := time.Now().Add(wait); held.Feeds+held.Owned > 0 && time.Now().Before(end); {
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := client.get(ctx, "/v1/drain", &held); err != nil {
			return err
		}
	}
	if g.JSON {
		return printJSON(os.Stdout, held)
	}
	if held.Feeds+held.Owned == 0 {
		fmt.Println("nothing is left here")
	} else {
		fmt.Printf("still here: %d streams, %d owned entries\n", held.Feeds, held.Owned)
	}
	return nil
}
