// Klive is a live-video ingest service for Kaltura: encoders publish to it, viewers watch
// from storage behind a CDN.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the table of contents: one field a command.
type commands struct {
	global

	Serve     serveCmd     `cmd:"" help:"Run the whole service in this process."`
	Gateway   gatewayCmd   `cmd:"" help:"Run a gateway: it takes encoders' streams."`
	Worker    workerCmd    `cmd:"" help:"Run a worker: it owns live entries, packages and stores them, or transcodes them."`
	Origin    originCmd    `cmd:"" help:"Run an origin: it serves players."`
	Control   controlCmd   `cmd:"" help:"Run the control plane and the console, for deployments without Kaltura."`
	Bus       busCmd       `cmd:"" help:"Run a node of the bus (NATS), for deployments without their own."`
	Doctor    doctorCmd    `cmd:"" help:"Check the configuration, ports, tools and folders, and say what to do."`
	Publish   publishCmd   `cmd:"" help:"Publish a moving test picture and a tone, as an encoder would."`
	Entry     entryCmd     `cmd:"" help:"List, add and remove live entries."`
	Sign      signCmd      `cmd:"" help:"Sign a viewer's address of an entry, for deployments with viewer.keys."`
	KS        ksCmd        `cmd:"" name:"ks" help:"Sign a Kaltura session for the API."`
	Feed      feedCmd      `cmd:"" help:"List the streams that are on the air, choose between two encoders of an entry, and end one."`
	Health    healthCmd    `cmd:"" help:"Ask the klive that runs here whether it takes work; the exit code says so."`
	Drain     drainCmd     `cmd:"" help:"Have the klive that runs here take nothing on any more, and wait until it holds nothing: before it is ended."`
	Version   versionCmd   `cmd:"" help:"Show the version."`
	Recording recordingCmd `cmd:"" help:"List recorded files, split them, and decide on those that wait."`
}

// global are the flags that every command takes.
type global struct {
	Config string `short:"c" type:"path" placeholder:"FILE" help:"Configuration file; klive.example.yaml documents it. Every key is also an environment variable KLIVE_…"`
	JSON   bool   `help:"Print JSON for programs."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "klive:", err)
		os.Exit(1)
	}
}

// run parses the command line and runs one command.
func run(ctx context.Context, args []string) error {
	var c commands
	parser, err := kong.New(&c,
		kong.Name("klive"),
		kong.Description("Live-video ingest for Kaltura: RTMP, SRT, WebRTC and HTTP in, HLS and DASH out."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(wholeNumber)),
	)
	if err != nil {
		return err
	}
	k, err := parser.Parse(args)
	if err != nil {
		var perr *kong.ParseError
		if errors.As(err, &perr) {
			return fmt.Errorf("%w; %q shows the commands", err, "klive --help")
		}
		return err
	}
	return k.Run(&c.global)
}

// wholeNumber reads a flag's number. Kong takes a negative one for a flag and suggests to write
// it otherwise; here the command says what it wants instead.
func wholeNumber(ctx *kong.DecodeContext, target reflect.Value) error {
	text := ctx.Scan.Pop().String()
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q: want a whole number", text)
	}
	target.SetInt(int64(n))
	return nil
}
