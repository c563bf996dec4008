package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// protectEvery is how often the feeds are looked at: much less than a scale-in's cooldown.
	protectEvery = 10 * time.Second
	// protectTimeout bounds one call of the agent, which is on this host.
	protectTimeout = 5 * time.Second
)

// Protection has ECS leave a task alone while it holds feeds: neither scaling in nor a rollout
// ends it then. It asks the agent of the task's host ("task scale-in protection endpoint",
// PUT $ECS_AGENT_URI/task-protection/v1/state). Protection runs out by itself, so a process that
// hangs does not stay for ever; while feeds live it is asked for again at half of that time.
type Protection struct {
	// Agent is the base address that ECS gives each container as ECS_AGENT_URI.
	Agent string
	// For is how long protection lasts: whole minutes, 1 to 2880.
	For time.Duration
	// Feeds is how many feeds the process holds now.
	Feeds func() int
	// Failed is told of calls that the agent did not take; they are made again.
	Failed func(error)

	on    bool
	until time.Time // when it is asked for again
}

// Run keeps the protection as the feeds want it, until the context ends.
func (p *Protection) Run(ctx context.Context) {
	tick := time.NewTicker(protectEvery)
	defer tick.Stop()
	for {
		if err := p.step(ctx, time.Now()); err != nil && ctx.Err() == nil {
			p.Failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// step asks for protection, gives it back, or does neither.
func (p *Protection) step(ctx context.Context, now time.Time) error {
	want := p.Feeds() > 0
	if want == p.on && (!want || now.Before(p.until)) {
		return nil
	}
	if err := p.put(ctx, want); err != nil {
		return err
	}
	p.on, p.until = want, now.Add(p.For/2)
	return nil
}

func (p *Protection) put(ctx context.Context, on bool) error {
	state := map[string]any{"ProtectionEnabled": on}
	if on {
		state["ExpiresInMinutes"] = int(p.For / time.Minute)
	}
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, protectTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.Agent+"/task-protection/v1/state", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("task protection: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("task protection: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("task protection: the ECS agent answers %s: %s", resp.Status, text)
	}
	return nil
}
