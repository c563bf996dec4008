package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
)

// A bus that is away makes a node unready after two seconds, not before, and the log has a
// line for each turn.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		var asked atomic.Int64
		var away atomic.Bool
		down := errors.New("no route")
		p := newPulse(t.Context(), func() error {
			asked.Add(1)
			if away.Load() {
				return down
			}
			return nil
		}, func() bool { return false }, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		done := make(chan struct{})
		go func() { defer close(done); p.run(t.Context()) }()
		t.Cleanup(func() { <-done })

		time.Sleep(10*time.Second + time.Millisecond)
		if n := asked.Load(); n != 11 || p.failing() != nil {
			t.Errorf("%d questions in 10 s; %v", n, p.failing())
		}
		away.Store(true)
		time.Sleep(pulseEvery + pulsePatience - 2*time.Millisecond)
		if err := p.failing(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
		if err := p.failing(); !errors.Is(err, down) {
			t.Errorf("after two seconds: %v", err)
		}
		time.Sleep(20 * time.Second)
		away.Store(false)
		time.Sleep(pulseEvery)
		if err := p.failing(); err != nil {
			t.Errorf("it is back: %v", err)
		}
		if text := log.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
			t.Errorf("the log says\n%s", text)
		}
	})
}

// A bus that elects a leader makes nobody unready for as long as that takes it, and for less
// than gateways hold what they can't write.
func TestPulseInElections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(t.Context(), func() error { return fmt.Errorf("%w: %w", bus.ErrUnavailable, bus.ErrElecting) }, func() bool { return false }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		time.Sleep(9*time.Second + pulseEvery)
		p.ask(t.Context())
		if err := p.failing(); err != nil {
			t.Errorf("in an election: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := p.failing(); !errors.Is(err, bus.ErrElecting) {
			t.Errorf("after twelve seconds: %v", err)
		}
	})
}

// A connection that is lost while a question is on its way makes a node unready as soon as any other
// loss does, however long the question waits.
func TestPulseWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		answer := make(chan error)
		first := true
		p := newPulse(t.Context(), func() error {
			if first {
				first = false
				return nil
			}
			return <-answer
		}, lost.Load, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		go p.ask(t.Context())
		time.Sleep(time.Second)
		lost.Store(true)
		if err := p.failing(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Second)
		if err := p.failing(); !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("after two seconds: %v", err)
		}
		lost.Store(false) // it is made anew
		if err := p.failing(); err != nil {
			t.Errorf("connected again: %v", err)
		}
		answer <- nil
		synctest.Wait()
		lost.Store(true)
		if err := p.failing(); err != nil {
			t.Errorf("nothing is asked: %v", err)
		}
	})
}

// A bus node that dies takes the connection with it: once there is another, the node stays ready for as long as an
// election may keep the others from answering.
func TestPulseOnAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan error, 1)
		answer <- fmt.Errorf("%w: nats: connection closed", bus.ErrClosed)
		var lost atomic.Bool
		p := newPulse(t.Context(), func() error { return <-answer }, lost.Load, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		go p.ask(t.Context())
		time.Sleep(pulsePatience + time.Second)
		if err := p.failing(); err != nil {
			t.Errorf("connected again, and not answered yet: %v", err)
		}
		lost.Store(true)
		if err := p.failing(); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("the other connection is lost as well: %v", err)
		}
		answer <- nil
	})
}

// A question that is on its way when the process ends has no answer, and nobody says that it has none.
func TestPulseEndsQuietly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer
	asked := 0
	p := newPulse(ctx, func() error {
		if asked++; asked > 1 {
			cancel()
		}
		return ctx.Err()
	}, func() bool { return false }, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	p.ask(ctx)
	if asked != 2 || log.String() != "" {
		t.Errorf("asked %d times; the log says %q", asked, log.String())
	}
}
