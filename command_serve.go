package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
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

// brokenTimeout bounds the end of a node whose bus takes no writes.
const brokenTimeout = 5 * time.Second

// runNode runs roles in this process until a signal ends it. ready is called once they take
// work; may be nil.
func (g *global) runNode(ctx context.Context, roles node.Roles, ready func(*node.Node, *config.Config) error) error {
	return g.runProcess(func(p *process) error {
		return p.again(ctx, func() error { return p.runNode(ctx, roles, ready) })
	})
}

// again runs f, and once more each time that the bus in this process has to begin anew.
func (p *process) again(ctx context.Context, f func() error) error {
	for {
		p.started = time.Now()
		err := f()
		if !errors.Is(err, node.ErrAgain) || ctx.Err() != nil {
			return err
		}
		p.log.Warn("starting again in this process", "why", err)
	}
}

const (
	// A bus that fails again within againSoon of a start is not helped by another one: a read-only
	// disk, a quota. Each start ends all streams, so they become ever rarer.
	againSoon                = 10 * time.Minute
	againFirst, againLongest = 5 * time.Second, 5 * time.Minute
)

// patience is how long to wait before the next start.
func (p *process) patience(now time.Time) time.Duration {
	if now.Sub(p.started) >= againSoon {
		p.pause = 0
	} else {
		p.pause = min(max(againFirst, 2*p.pause), againLongest)
	}
	return p.pause
}

// endTimeout is how long a node may take to end.
func (p *process) endTimeout(err error) time.Duration {
	if errors.Is(err, node.ErrAgain) {
		return brokenTimeout // nothing can be handed over or noted by a bus that takes no writes
	}
	return p.settings.Gateway.Drain + p.settings.Worker.Drain + closeTimeout
}

func (p *process) runNode(ctx context.Context, roles node.Roles, ready func(*node.Node, *config.Config) error) error {
	started := time.Now()
	registry := telemetry.NewRegistry(version)
	defer p.informPlatform(registry, roles.String())()
	n, err := node.Start(ctx, node.Config{
		Settings: p.settings, Roles: roles, Version: version, Log: p.log, Registry: registry,
	})
	if ctx.Err() != nil && err != nil {
		return nil // it was told to end before all that it waited for was there
	}
	if err != nil {
		return err
	}
	p.taken = n.Reload
	defer p.protect(n, roles)()
	p.log.Info("klive is ready", "roles", roles.String(), "version", version, "after", time.Since(started).Round(time.Millisecond))
	if ready != nil {
		if err := ready(n, p.settings); err != nil {
			p.log.Warn("can't print the addresses", "error", err)
		}
	}
	err = p.supervise(ctx, n.Failed())
	p.shutDown(err, n.Close)
	return err
}

// shutDown closes what runs, in order, for the reason that it ends. The log tells its end too: handing
// over may take minutes, and one that was killed meanwhile must not look the same.
func (p *process) shutDown(reason error, closeAll func(context.Context)) {
	begun := time.Now()
	p.log.Info("klive is shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), p.endTimeout(reason))
	defer cancel()
	closeAll(ctx)
	p.log.Info("klive has shut down", "after", time.Since(begun).Round(time.Millisecond))
}

// process is what the commands have in common that run until a signal ends them.
type process struct {
	global   *global
	settings *config.Config
	log      *slog.Logger
	level    slog.LevelVar
	started  time.Time     // the last time
	pause    time.Duration // before the start that a broken bus called for last
	hup      chan os.Signal
	// taken is told of a configuration that is taken over while the process runs; may be nil.
	taken func(*config.Config)
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
	if limit := node.LimitMemory(telemetry.ContainerMemory(), os.Getenv("GOMEMLIMIT") != ""); limit > 0 {
		p.log.Info("this container's memory is limited: the heap is kept below", "MiB", limit>>20)
	}
	return f(p)
}

// protect has ECS leave a gateway alone that holds feeds, when it runs there, until the returned
// function is called: one that drains still holds them.
func (p *process) protect(n *node.Node, roles node.Roles) (stop func()) {
	agent, length := os.Getenv("ECS_AGENT_URI"), p.settings.Gateway.TaskProtection
	if agent == "" || length < time.Minute || !roles.Has(node.Gateway) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&telemetry.Protection{Agent: agent, For: length, Feeds: func() int { return n.Held().Feeds }, Failed: func(err error) {
			p.log.Warn("ECS may end this task while streams are on the air", "error", err)
		}}).Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// informPlatform sends metrics to CloudWatch, under the name of the roles, when a namespace is set,
// until the returned function is called.
func (p *process) informPlatform(metrics prometheus.Gatherer, roles string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if c := p.settings.Telemetry.CloudWatch; c.Namespace != "" {
		running.Go(func() {
			lines := &telemetry.CloudWatch{Namespace: c.Namespace, Role: roles, Gatherer: metrics, Out: os.Stdout}
			if err := lines.Run(ctx, c.Every); err != nil {
				p.log.Error("no more metrics go to CloudWatch", "error", err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// supervise waits for the end: a signal, or a part that failed. A node whose bus has to begin anew
// goes on for a while as it is, when it has done that lately.
func (p *process) supervise(ctx context.Context, failed <-chan error) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			return node.ErrAgain
		case err := <-failed:
			pause := time.Duration(0)
			if errors.Is(err, node.ErrAgain) {
				pause = p.patience(time.Now())
			}
			if pause == 0 {
				return err
			}
			p.log.Warn("the bus has to begin anew, and that is tried later, because it was begun a short while ago: see that the data folder can be written to", "in", pause)
			again = time.After(pause)
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
	keys, _ := c.Viewer.TokenKeys() // they have been checked
	p.log.Info("configuration read again", "log.level", c.Log.Level, "viewer.keys", len(keys))
	running := *old
	running.Log.Level, running.Viewer = c.Log.Level, c.Viewer
	if p.taken != nil {
		p.taken(&running)
	}
	return &running
}
