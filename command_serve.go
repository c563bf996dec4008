package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// drainTimeout bounds an orderly end.
const drainTimeout = 30 * time.Second

// Run runs every role in this process until a signal ends it.
func (serveCmd) Run(ctx context.Context, g *global) error {
	started := time.Now()
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
	if err := banner(os.Stdout, settings); err != nil {
		log.Warn("can't print the addresses", "error", err)
	}
	err = supervise(ctx, g, n, settings, &level, log)
	log.Info("klive is shutting down")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	n.Close(end)
	return err
}

// supervise waits for the end: a signal, or a part that failed. SIGHUP reads the
// configuration again.
func supervise(ctx context.Context, g *global, n *node.Node, settings *config.Config, level *slog.LevelVar, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-n.Failed():
			return err
		case <-hup:
			settings = reload(g, settings, level, log)
		}
	}
}

// reload takes over what can change while klive runs. A bad file changes nothing.
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
	return c
}

// banner prints what to do next.
func banner(w io.Writer, c *config.Config) error {
	if c.Kaltura.URL != "" || !c.Control.Enabled {
		_, err := fmt.Fprintf(w, "\nklive takes streams for %s.\n\n  server   rtmp://%s/%s/?p=<partner>&e=<entry>&i=0&t=<token>\n  console  http://%s/\n\n",
			c.Kaltura.URL, node.Dialable(c.RTMP.Listen), c.RTMP.App, node.Dialable(c.Admin.Listen))
		return err
	}
	if c.RTMP.Listen == "" {
		return errors.New("rtmp.listen is off")
	}
	_, err := fmt.Fprintf(w, `
klive is ready. Publish to its demo entry:

  OBS      Settings → Stream → Custom
             Server      rtmp://%[1]s/%[2]s/?p=102&e=0_demolive&i=0&t=demo1234
             Stream Key  0_demolive_1
  ffmpeg   ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 \
             -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -c:a aac -f flv \
             "rtmp://%[1]s/%[2]s/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1"
  or just  bin/klive publish

  play     %[3]s
  console  http://%[4]s/

`, node.Dialable(c.RTMP.Listen), c.RTMP.App, node.PlayURL(c, "0_demolive"), node.Dialable(c.Admin.Listen))
	return err
}
