package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"klive/infra/config"
	"klive/infra/node"
	"klive/infra/telemetry"
)

type serveCmd struct{}

// closeTimeout bounds an orderly end once the encoders have had their time to go.
const closeTimeout = 30 * time.Second

// Run runs every role in this process until a signal ends it.
func (serveCmd) Run(ctx context.Context, g *global) error {
	started := time.Now()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // from the beginning: unheard it would end the process
	defer signal.Stop(hup)
	settings, warnings, err := g.settings()
	if err != nil {
		return err
	}
	warn(warnings)
	var level slog.LevelVar
	log, err := logger(settings, &level)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, node.Config{
		Settings: settings, Version: version, Log: log, Registry: telemetry.NewRegistry(version),
	})
	if err != nil {
		return err
	}
	log.Info("klive is ready", "version", version, "after", time.Since(started).Round(time.Millisecond))
	if err := banner(os.Stdout, g, settings, n.HasEntry(context.WithoutCancel(ctx), demoEntry)); err != nil {
		log.Warn("can't print the addresses", "error", err)
	}
	err = supervise(ctx, hup, n, func() { settings = reload(g, settings, &level, log) })
	log.Info("klive is shutting down")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.Gateway.Drain+closeTimeout)
	defer cancel()
	n.Close(end)
	return err
}

// supervise waits for the end: a signal, or a part that failed.
func supervise(ctx context.Context, hup <-chan os.Signal, n *node.Node, reload func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-n.Failed():
			return err
		case <-hup:
			reload()
		}
	}
}

// reload takes over what can change while klive runs and returns the configuration in
// force. A bad file changes nothing.
func reload(g *global, old *config.Config, level *slog.LevelVar, log *slog.Logger) *config.Config {
	c, _, err := g.settings()
	if err != nil {
		log.Error("the new configuration is not taken over", "error", err)
		return old
	}
	for _, change := range config.Diff(old, c) {
		if !change.Reloadable {
			log.Warn("a changed key needs a restart", "key", change.Key)
		}
	}
	l, err := telemetry.ParseLevel(c.Log.Level)
	if err != nil {
		log.Error("the new configuration is not taken over", "error", err)
		return old
	}
	level.Set(l)
	log.Info("configuration read again", "log.level", c.Log.Level)
	running := *old
	running.Log.Level = c.Log.Level
	return &running
}
