package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"klive/infra/admin"
	"klive/infra/telemetry"
)

// drainPoll is how often "klive drain" looks whether the process has let go of everything.
const drainPoll = 500 * time.Millisecond

type drainCmd struct {
	Cancel bool          `help:"Take a drain back, while nothing has ended yet: new streams are taken again."`
	Wait   time.Duration `default:"-1s" help:"How long to wait for it at most; -1s is until gateway.drain and worker.drain are over (where klive runs alone, gateway.drain), 0s does not wait."`
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
	var held admin.Held
	if err := client.ask(ctx, http.MethodPost, "/v1/drain", nil, &held); err != nil {
		return err
	}
	wait := d.Wait
	if wait < 0 {
		wait = c.Gateway.Drain + c.Worker.Drain
		if held.Alone {
			wait = c.Gateway.Drain
		}
	}
	if held.Alone && held.Left() && !g.JSON {
		left := fmt.Sprintf("what has not left within %v", wait)
		if wait == 0 {
			left = "what is still here then"
		}
		fmt.Printf("this klive runs alone, nobody can take over its %s: %s ends with the process\n",
			telemetry.Count(held.Feeds, "stream", "streams"), left)
	}
	for end := time.Now().Add(wait); held.Left() && time.Now().Before(end); {
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		held = admin.Held{} // what the answer leaves out is not so any more
		if err := client.get(ctx, "/v1/drain", &held); err != nil {
			return err
		}
		if !held.Draining {
			return errors.New("this klive drains no more, and takes new streams: somebody took the drain back, or started it again")
		}
	}
	if g.JSON {
		if err := printJSON(os.Stdout, held); err != nil {
			return err
		}
	}
	return d.outcome(held, wait, c.Broadcast.Resume, g.JSON)
}

// outcome says what has become of the drain.
func (*drainCmd) outcome(held admin.Held, waited, resume time.Duration, quiet bool) error {
	owned := telemetry.Count(held.Owned, "owned entry", "owned entries")
	here := telemetry.Count(held.Feeds, "stream", "streams")
	if !held.Alone {
		here += ", " + owned
	}
	switch {
	case held.Left() && waited > 0:
		return fmt.Errorf("after %v still here: %s, which the end of the process ends too; "+
			`wait longer (--wait, gateway.drain), or take the drain back ("klive drain --cancel")`, waited, here)
	case quiet:
	case held.Left():
		fmt.Println("draining; still here:", here)
	case held.Owned > 0:
		fmt.Printf("no encoder is left here; %s: this klive runs alone, nobody else can take them. End it now (SIGTERM): "+
			"a broadcast goes on when klive and its encoder are back within %v (broadcast.resume)\n", owned, resume)
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
