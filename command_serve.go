package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/config"
	"klive/infra/node"
	"klive/infra/telemetry"
)

type serveCmd struct{}

// Run runs every role in this process until a signal ends it.
func (serveCmd) Run(ctx context.Context, g *global) error {
	return g.runNode(ctx, node.All, func(n *node.Node, c *config.Config) error {
		return banner(os.Stdout, g, c, n.HasEntry(context.WithoutCancel(ctx), demoEntry))
	})
}

// closeTimeout bounds an orderly end once the encoders and the workers have had their time.
const closeTimeout = 30 * time.Second

// runNode runs roles in this process until a signal ends it. ready is called once they take
// work; may be nil.
func (g *global) runNode(ctx context.Context, roles node.Roles, ready func(*node.Node, *config.Config) error) error {
	started := time.Now()
	return g.runProcess(func(p *process) error {
		registry := telemetry.NewRegistry(version)
		defer p.publishMetrics(registry, roles.String())()
		n, err := node.Start(ctx, node.Config{
			Settings: p.settings, Roles: roles, Version: version, Log: p.log, Registry: registry,
		})
		if ctx.Err() != nil && err != nil {
			return nil // it was told to end before all that it waited for was there
		}
		if err != nil {
			return err
		}
		p.log.Info("klive is ready", "roles", roles.String(), "version", version, "after", time.Since(started).Round(time.Millisecond))
		if ready != nil {
			if err := ready(n, p.settings); err != nil {
				p.log.Warn("can't print the addresses", "error", err)
			}
		}
		err = p.supervise(ctx, n.Failed())
		p.log.Info("klive is shutting down")
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.settings.Gateway.Drain+p.settings.Worker.Drain+closeTimeout)
		defer cancel()
		n.Close(end)
		return err
	})
}

// process is what the commands have in common that run until a signal ends them.
type process struct {
	global   *global
	settings *config.Config
	log      *slog.Logger
	level    slog.LevelVar
	hup      chan os.Signal
}

// runProcess reads the configuration, makes the log and runs f.
func (g *global) runProcess(f func(*process) error) error {
	p := &process{global: g, hup: make(chan os.Signal, 1)}
	signal.Notify(p.hup, syscall.SIGHUP) // from the beginning: unheard it would end the process
	defer signal.Stop(p.hup)
	settings, warnings, err := g.settings()
	if err != nil {
		return err
	}
	warn(warnings)
	p.settings = settings
	if p.log, err = logger(settings, &p.level); err != nil {
		return err
	}
	return f(p)
}

// publishMetrics writes the metrics for CloudWatch when the configuration names a namespace,
// until the returned function is called: to the process's very end, for a draining gateway
// still counts.
func (p *process) publishMetrics(metrics prometheus.Gatherer, role string) (stop func()) {
	c := p.settings.Telemetry.CloudWatch
	if c.Namespace == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := &telemetry.CloudWatch{Namespace: c.Namespace, Role: role, Gatherer: metrics, Out: os.Stdout}
		if err := lines.Run(ctx, c.Every); err != nil {
			p.log.Error("no more metrics go to CloudWatch", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// supervise waits for the end: a signal, or a part that failed.
func (p *process) supervise(ctx context.Context, failed <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-p.hup:
			p.settings = p.reload()
		}
	}
}

// reload takes over what can change while klive runs and returns the configuration in
// force. A bad file changes nothing.
func (p *process) reload() *config.Config {
	old := p.settings
	c, _, err := p.global.settings()
	if err != nil {
		p.log.Error("the new configuration is not taken over", "error", err)
		return old
	}
	for _, change := range config.Diff(old, c) {
		if !change.Reloadable {
			p.log.Warn("a changed key needs a restart", "key", change.Key)
		}
	}
	l, err := telemetry.ParseLevel(c.Log.Level)
	if err != nil {
		p.log.Error("the new configuration is not taken over", "error", err)
		return old
	}
	p.level.Set(l)
	p.log.Info("configuration read again", "log.level", c.Log.Level)
	running := *old
	running.Log.Level = c.Log.Level
	return &running
}
