package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"klive/infra/node"
	"klive/infra/telemetry"
)

type busCmd struct{}

// busGC has the collector run when the heap has grown by so many percent. A bus node's heap is
// the parts it keeps: at Go's 100 it takes twice their size; at this, a third less for an
// eighth more CPU.
const busGC = 40

// Run runs a NATS node until a signal ends it.
func (busCmd) Run(ctx context.Context, g *global) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(busGC)
	}
	return g.runProcess(func(p *process) error {
		return p.again(ctx, func() error { return p.runBus(ctx) })
	})
}

func (p *process) runBus(ctx context.Context) error {
	started := time.Now()
	registry := telemetry.NewRegistry(version)
	defer p.informPlatform(registry, "bus")()
	b, err := node.StartBus(ctx, node.Config{Settings: p.settings, Version: version, Log: p.log, Registry: registry})
	if err != nil {
		return err
	}
	p.log.Info("klive bus listens", "address", p.settings.Bus.Listen, "version", version, "after", time.Since(started).Round(time.Millisecond))
	err = p.supervise(ctx, b.Failed())
	p.shutDown(err, b.Close)
	return err
}
