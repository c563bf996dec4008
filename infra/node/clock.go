package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
)

const (
	// maxClockOff is how far a node's clock may be from the others'. Media time is wall time.
	maxClockOff = time.Second
	// clockJury is how many other clocks it takes to call one wrong: those of the other nodes, and
	// that of the bus.
	clockJury = 2
	// clockBeats is of how many beats of a peer the quickest counts, and clockLooks how many looks in
	// a row it takes to call this clock wrong: a process that had no processor for a while hears
	// all others late.
	clockBeats = 5
	clockLooks = 3
	// busClockEvery is how often the bus is asked for its time, busClockTrust how long an answer
	// counts, and busClockSlow how long the question may take for the answer to mean something.
	busClockEvery = 20 * time.Second
	busClockTrust = 3 * busClockEvery
	busClockSlow  = 800 * time.Millisecond
	// clockStep is how far the clock may move against the running of time between two looks, which
	// are a second apart, before it counts as stepped.
	clockStep = 500 * time.Millisecond
)

// earliest is before any release of this program: a clock that shows less was never set.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// clock holds this host's clock against those of the other nodes and of the bus, and against the
// running of time.
type clock struct {
	log *slog.Logger

	// mu guards the fields below.
	mu    sync.Mutex
	off   time.Duration // ahead of the others' median
	bus   time.Duration // ahead of the bus's clock,
	asked time.Time     // as of then; zero when it is not known
	steps int
	since time.Time             // of the last step: what was heard before it says nothing
	heard map[string][]lateness // by peer, its newest beats
	looks int                   // in a row by which this clock is off
}

// lateness is how far this clock was ahead of that of a beat when that was heard.
type lateness struct {
	at  time.Time
	off time.Duration
}

// startClock looks at the clock before anything is done by it, and from then on.
func (n *Node) startClock(ctx context.Context) error {
	if now := time.Now(); n.datagrams && now.Before(earliest) {
		return fmt.Errorf("this host's clock says %s, so it was never set; media time is wall time: let it follow a time server (NTP) and start again", now.Format(time.DateOnly))
	}
	if n.server != nil {
		return nil
	}
	n.clock.log = n.log
	n.cfg.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "klive_node_clock_offset_seconds", Help: "How far this host's clock is ahead of the other nodes' and the bus's."},
			func() float64 { return n.clock.ahead().Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "klive_node_clock_steps_total", Help: "How often this host's clock was stepped by more than half a second."},
			func() float64 { return n.clock.stepped() }),
	)
	if cluster(n.settings) {
		n.askBusClock(ctx)
		if off, known := n.clock.busOff(time.Now()); known && off.Abs() > maxClockOff {
			n.log.Warn("this host's clock and the bus's differ; one of them is wrong: let both follow a time server (NTP)", "ahead", off.Round(10*time.Millisecond))
		}
	}
	n.beside(ctx, "clock", n.watchClock)
	return nil
}

// watchClock notices steps, and asks the bus for its time.
func (n *Node) watchClock(ctx context.Context) {
	last, asked := time.Now(), time.Now()
	for sleep(ctx, pulseEvery) {
		now := time.Now()
		stepped := n.clock.tick(last, now)
		last = now
		if cluster(n.settings) && (stepped || now.Sub(asked) >= busClockEvery) {
			asked = now
			n.askBusClock(ctx)
		}
	}
}

// askBusClock notes how far this clock is ahead of the one by which the bus stamps what it stores.
func (n *Node) askBusClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, busClockSlow)
	defer cancel()
	off, err := busOffset(ctx, n.claims, "clock."+n.process)
	n.clock.mu.Lock()
	defer n.clock.mu.Unlock()
	if err != nil {
		n.log.Debug("the bus does not tell its time", "error", err)
		return
	}
	n.clock.bus, n.clock.asked = off, time.Now()
}

// stamps is a bucket by which the bus tells its time.
type stamps interface {
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Get(ctx context.Context, key string) (bus.KeyValue, error)
}

// busOffset writes a value and compares when it was stored with when it was sent and answered.
func busOffset(ctx context.Context, b stamps, key string) (time.Duration, error) {
	sent := time.Now()
	revision, err := b.Put(ctx, key, nil)
	if err != nil {
		return 0, err
	}
	took := time.Since(sent)
	kv, err := b.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if kv.Revision != revision { // a server that is behind has the value before it
		return 0, fmt.Errorf("the bus answers with revision %d of %s, not with %d", kv.Revision, key, revision)
	}
	return sent.Add(took / 2).Sub(kv.At), nil
}

// tick compares the clock's way since the last look with the time that has run. It reports a step.
func (c *clock) tick(last, now time.Time) bool {
	by := now.Round(0).Sub(last.Round(0)) - now.Sub(last) // wall less monotonic
	if by.Abs() < clockStep {
		return false
	}
	c.note(by, now)
	return true
}

// note takes a step of the clock. What was known of the others' is known no more.
func (c *clock) note(by time.Duration, now time.Time) {
	c.mu.Lock()
	c.steps++
	c.asked = time.Time{}
	c.since, c.heard = now, nil
	c.mu.Unlock()
	c.log.Warn("this host's clock was stepped; streams that are on the air keep their time, new ones begin by the new one", "by", by.Round(10*time.Millisecond))
}

func (c *clock) stepped() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.steps)
}

// busOff is how far this clock is ahead of the bus's, if that was asked lately.
func (c *clock) busOff(now time.Time) (off time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bus, !c.asked.IsZero() && now.Sub(c.asked) < busClockTrust
}

// hear takes the newest beats, and returns how far this clock is ahead of each peer's by the
// quickest of its last ones: the way of a beat makes a peer look late, never early.
func (c *clock) hear(peers []peer, self string) (ahead []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := make(map[string][]lateness, len(peers)) // who is gone is forgotten
	for _, p := range peers {
		if p.Name == self || p.Time.IsZero() || p.heard.Before(c.since) {
			continue
		}
		of := c.heard[p.Name]
		if len(of) == 0 || !of[len(of)-1].at.Equal(p.heard) {
			of = append(of, lateness{p.heard, p.heard.Sub(p.Time)})
			of = of[max(0, len(of)-clockBeats):]
		}
		heard[p.Name] = of
		ahead = append(ahead, slices.MinFunc(of, func(a, b lateness) int { return cmp.Compare(a.off, b.off) }).off)
	}
	c.heard = heard
	return ahead
}

// compare takes the newest beats, once a second.
func (c *clock) compare(peers []peer, self string) {
	ahead := c.hear(peers, self)
	if off, known := c.busOff(time.Now()); known {
		ahead = append(ahead, off)
	}
	var off time.Duration
	if len(ahead) >= clockJury {
		slices.SortFunc(ahead, cmp.Compare)
		// Of two in the middle the one that speaks for this clock: one that is off must not stop another.
		off = ahead[(len(ahead)-1)/2]
		if other := ahead[len(ahead)/2]; other.Abs() < off.Abs() {
			off = other
		}
	}
	was := c.wrong()
	c.mu.Lock()
	c.off = off
	if off.Abs() > maxClockOff {
		c.looks++
	} else {
		c.looks = 0
	}
	c.mu.Unlock()
	switch is := c.wrong(); {
	case was == nil && is != nil:
		c.log.Error("this node takes no streams: " + is.Error())
	case was != nil && is == nil:
		c.log.Info("this host's clock agrees with the other nodes' again")
	}
}

func (c *clock) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off
}

// wrong says that the clock can't be used.
func (c *clock) wrong() error {
	c.mu.Lock()
	off, looks := c.off, c.looks
	c.mu.Unlock()
	if looks < clockLooks {
		return nil
	}
	side := "ahead of"
	if off < 0 {
		side = "behind"
	}
	return fmt.Errorf("this host's clock is %v %s the other nodes'; let it follow a time server (NTP)", off.Abs().Round(10*time.Millisecond), side)
}
