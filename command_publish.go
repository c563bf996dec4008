package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"klive/infra/config"
	"klive/infra/publisher"
)

type publishCmd struct {
	URL      string        `arg:"" optional:"" help:"Address with stream name: rtmp://host/kLive/?p=…&e=…&i=0&t=…/<entry>_1, srt://host:8890?streamid=…, http://host:8080/ingest/<entry>_1?p=…&t=…, or the same with /whip/ for WebRTC. Without it the demo entry of the klive on this machine or, with bus.url set, under rtmp.publicUrl."`
	Protocol string        `enum:"rtmp,srt,push,whip" default:"rtmp" help:"How to reach the demo entry when no address is given: rtmp, srt, push (HTTP) or whip (WebRTC)."`
	Size     string        `default:"1280x720" help:"Picture size in pixels."`
	FPS      int           `default:"30" help:"Frames per second."`
	Bitrate  int           `default:"2500000" help:"Video bit rate in bit/s."`
	GOP      time.Duration `default:"2s" help:"Time between keyframes."`
	Duration time.Duration `help:"Stop after this time; 0 goes on until Ctrl-C."`
	FFmpeg   string        `name:"ffmpeg" default:"ffmpeg" help:"The ffmpeg program."`
}

// demoAddress is where the demo entry is published over a protocol.
func demoAddress(c *config.Config, protocol string) (string, error) {
	url, keys := demoURL(c), "rtmp.listen and rtmps.listen are both off"
	switch protocol {
	case "srt":
		url, keys = demoSRT(c), "srt.listen is off"
	case "push":
		url, keys = demoPush(c), "http.listen and https.listen are both off, or push.enabled is false"
	case "whip":
		url, keys = demoWHIP(c), "http.listen and https.listen are both off, or webrtc.listen is, or whip.enabled is false"
	}
	if url == "" {
		return "", errors.New(keys + ": give the address to publish to")
	}
	return url, nil
}

// Run publishes the test pattern until it is stopped.
func (p *publishCmd) Run(ctx context.Context, g *global) error {
	var w, h int
	if n, err := fmt.Sscanf(p.Size, "%dx%d", &w, &h); n != 2 || err != nil || w < 16 || h < 16 || w > 7680 || h > 4320 {
		return fmt.Errorf("--size %q: want WIDTHxHEIGHT from 16x16 to 7680x4320, for example 1280x720", p.Size)
	}
	switch {
	case p.FPS < 1 || p.FPS > 120:
		return fmt.Errorf("--fps %d: want 1 to 120", p.FPS)
	case p.Bitrate < 50_000 || p.Bitrate > 100_000_000:
		return fmt.Errorf("--bitrate %d: want 50000 to 100000000 bit/s", p.Bitrate)
	case p.GOP < 100*time.Millisecond || p.GOP > time.Minute:
		return fmt.Errorf("--gop %v: want 100ms to 1m", p.GOP)
	case p.Duration < 0:
		return fmt.Errorf("--duration %v: want 0 or more", p.Duration)
	}
	if p.URL == "" {
		c, _, err := g.settings()
		if err != nil {
			return err
		}
		if p.URL, err = demoAddress(c, p.Protocol); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, "publishing a test pattern; Ctrl-C stops it")
	return publisher.Pattern{
		URL: p.URL, Width: w, Height: h, FPS: p.FPS, Bitrate: p.Bitrate,
		GOP: p.GOP, Duration: p.Duration, FFmpeg: p.FFmpeg,
	}.Run(ctx)
}
