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
	Cancel bool          `help:"Take a drain back, while nothing has ended yet: new streams are taken again."`
	Wait   time.Duration `default:"-1s" help:"How long to wait for it at most; -1s is until gateway.drain and worker.drain are over, 0s does not wait."`
}

// Run has the klive that runs here take nothing on any more, and waits until it holds nothing:
// what a platform calls before it ends the process (Kubernetes: preStop). It fails when the time is over and something
// is still here.
func (d *drainCmd) Run(ctx context.Context, g *global) error {
	c, _, err := g.settings()
	if err != nil {
		return err
	}
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	if d.Cancel {
		return d.takeBack(ctx, g, client)
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
		if err := printJSON(os.Stdout, held); err != nil {
			return err
		}
	}
	left := held.Feeds+held.Owned > 0
	switch {
	case left && wait > 0:
		return fmt.Errorf("after %v there are still %d streams and %d owned entries here: they end with the process; "+
			`wait longer (--wait, gateway.drain), or take the drain back ("klive drain --cancel")`, wait, held.Feeds, held.Owned)
	case g.JSON:
	case left:
		fmt.Printf("draining; still here: %d streams, %d owned entries\n", held.Feeds, held.Owned)
	default:
		fmt.Println("nothing is left here")
	}
	return nil
}

// takeBack ends the drain.
func (d *drainCmd) takeBack(ctx context.Context, g *global, client *adminClient) error {
	var held admin.Held
	if err := client.ask(ctx, http.MethodDelete, "/v1/drain", nil, &held); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, held)
	}
	fmt.Println("not draining; new streams are taken")
	return nil
}
