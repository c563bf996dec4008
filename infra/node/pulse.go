package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
)

const (
	// pulseEvery is how often the bus is asked whether it is there.
	pulseEvery = time.Second
	// pulsePatience is how long the bus may be away before this node is not ready: a connection
	// that was made anew at once is nobody's trouble.
	pulsePatience = 2 * time.Second
	// electionPatience is the same while the bus is connected but elects a leader, which takes it
	// four to nine seconds. Gateways hold what they can't write meanwhile, for 25 s; if all
	// nodes left their load balancer at each election, nobody would be there to hold anything.
	electionPatience = 12 * time.Second
)

// pulse asks the bus once a second whether it answers. Readiness is asked for more often,
// by anybody, and at each connect of an encoder; it takes what the last question brought.
type pulse struct {
	check func() error
	lost  func() bool // whether the connection is gone: a question on its way has no answer then
	log   *slog.Logger
	up    prometheus.Gauge
	rtt   prometheus.Gauge

	// mu guards the fields below.
	mu    sync.Mutex
	asked time.Time // when the question was asked that has no answer yet
	err   error
	cut   bool      // err came of a connection that was lost
	since time.Time // when the first of the questions was asked that brought err, or no more errors
	took  time.Duration
}

func newPulse(ctx context.Context, check func() error, lost func() bool, log *slog.Logger, r prometheus.Registerer) *pulse {
	p := &pulse{
		check: check, lost: lost, log: log,
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "klive_bus_up", Help: "1 while the bus answers this process.",
		}),
		rtt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "klive_bus_rtt_seconds", Help: "How long the bus took for its last answer.",
		}),
	}
	r.MustRegister(p.up, p.rtt)
	p.ask(ctx)
	return p
}

// run asks until the context ends.
func (p *pulse) run(ctx context.Context) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.ask(ctx)
		}
	}
}

// ask asks once. When the context ends meanwhile nobody waits for the answer, and there may be none.
func (p *pulse) ask(ctx context.Context) {
	began := time.Now()
	p.mu.Lock()
	p.asked = began
	p.mu.Unlock()
	err := p.check()
	if ctx.Err() != nil {
		return
	}
	cut := err != nil && (errors.Is(err, bus.ErrClosed) || p.lost())
	p.mu.Lock()
	p.asked, p.cut = time.Time{}, cut
	was, since := p.err, p.since
	if p.err = err; err == nil {
		p.took = time.Since(began)
	}
	if (err == nil) != (was == nil) {
		p.since = began
	}
	p.mu.Unlock()
	if err != nil {
		p.up.Set(0)
		if was == nil {
			p.log.Warn("the bus does not answer", "error", err)
		}
		return
	}
	p.up.Set(1)
	p.rtt.Set(time.Since(began).Seconds())
	if was != nil {
		p.log.Info("the bus answers again", "after", time.Since(since).Round(time.Millisecond))
	}
}

// failing says why the bus can't be used, once that has lasted.
func (p *pulse) failing() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		if silent := time.Since(p.asked); !p.asked.IsZero() && silent >= pulsePatience && p.lost() {
			return fmt.Errorf("the bus has not answered for %v: %w: the connection is lost", silent.Round(time.Second), bus.ErrUnavailable)
		}
		return nil
	}
	patience := pulsePatience
	// Where the connection is back and asked again, what becomes of that counts.
	if errors.Is(p.err, bus.ErrElecting) || p.cut && !p.asked.IsZero() && !p.lost() {
		patience = electionPatience
	}
	if time.Since(p.since) < patience {
		return nil
	}
	return fmt.Errorf("the bus has not answered for %v: %w", time.Since(p.since).Round(time.Second), p.err)
}

// answering is for how long the bus has answered without a failure.
func (p *pulse) answering() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0
	}
	return time.Since(p.since)
}

// roundTrip is how long the bus took for its last answer.
func (p *pulse) roundTrip() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}
