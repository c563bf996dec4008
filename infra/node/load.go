package node

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/config"
	"klive/infra/telemetry"
)

const (
	// loadEvery is how often the load is measured.
	loadEvery = 2 * time.Second
	// fullFor is how long a gateway stays full at least, so that it does not come and go at its
	// load balancer.
	fullFor = 10 * time.Second
)

// Full is how readiness begins when a gateway takes no new streams but is well otherwise. What it
// has goes on, so /readyz is 200 with that: platforms end what is not ready, and take playback away
// from a process that does both.
const Full = "full: "

// load watches whether this process has room for more: a gateway for streams, a bus node for connections.
type load struct {
	read func() telemetry.Load
	mark func(telemetry.Load) error // which marks a load is over; nil when none
	log  *slog.Logger
	// says is what the log tells when there is no room, and when there is again.
	says [2]string

	// mu guards the fields below.
	mu    sync.Mutex
	now   telemetry.Load
	over  error     // why there is no room; nil while there is
	until time.Time // it stays so at least until
}

// full says why no more streams are taken; nil while they are.
func (l *load) full() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// look measures and decides.
func (l *load) look(now time.Time) {
	measured := l.read()
	over := l.mark(measured)
	if over != nil {
		over = errors.New(strings.ReplaceAll(over.Error(), "\n", ", "))
	}
	l.mu.Lock()
	l.now = measured
	was := l.over
	switch {
	case over != nil:
		l.over, l.until = over, now.Add(fullFor)
	case !now.Before(l.until):
		l.over = nil
	}
	is := l.over
	l.mu.Unlock()
	switch {
	case was == nil && is != nil:
		l.log.Warn(l.says[0], "why", is)
	case was != nil && is == nil:
		l.log.Info(l.says[1])
	}
}

func (l *load) figure(f func(telemetry.Load) float64) func() float64 {
	return func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return f(l.now)
	}
}

// startLoad begins to watch this process's load, where it takes streams. In virtual time it does
// when it is told what the load is.
func (n *Node) startLoad(ctx context.Context) error {
	if n.gateway == nil || n.cfg.Load == nil && !n.datagrams {
		return nil
	}
	marks := marks(n.settings.Limits)
	l := &load{read: n.cfg.Load, log: n.log, says: [2]string{"this gateway takes no new streams; those that it has go on", "this gateway takes new streams again"},
		mark: func(l telemetry.Load) error {
			count, bits := n.carried()
			return marks.Over(l, count, bits)
		}}
	if l.read == nil {
		g := &telemetry.Gauge{}
		if n.roles == All || n.roles.Has(LiveWorker) {
			g.Data = n.settings.Data // a gateway alone keeps nothing there
		}
		l.read = func() telemetry.Load { return g.Read(time.Now()) }
	}
	n.watchLoad(ctx, l)
	return nil
}

// watchLoad measures again and again, for readiness and metrics.
func (n *Node) watchLoad(ctx context.Context, l *load) {
	gauge := func(name, help string, f func(telemetry.Load) float64) {
		n.cfg.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, l.figure(f)))
	}
	gauge("klive_node_cpu_share", "Processor time that this process uses of what it may, over half a minute.", func(l telemetry.Load) float64 { return l.CPU })
	gauge("klive_node_memory_share", "Memory in use, without pages of files, of what this process may use.", func(l telemetry.Load) float64 { return l.Memory })
	gauge("klive_node_descriptor_share", "Open file descriptors of those that this process may open.", func(l telemetry.Load) float64 { return l.Descriptors })
	l.look(time.Now())
	n.load.Store(l)
	n.beside(ctx, "load", func(ctx context.Context) {
		for sleep(ctx, loadEvery) {
			l.look(time.Now())
		}
	})
}

// carried is how many streams this gateway has and what they bring, in bit/s.
func (n *Node) carried() (count int, bits int64) {
	for _, r := range n.gateway.Sessions() {
		count++
		bits += r.Stats.Bitrate
	}
	return count, bits
}

func marks(c config.Limits) telemetry.Marks {
	return telemetry.Marks{
		CPU: float64(c.CPU) / 100, Memory: float64(c.Memory) / 100, Descriptors: float64(c.Descriptors) / 100,
		DiskFree: int64(c.Disk), Network: int64(c.Network) * 1_000_000, Streams: c.Streams,
	}
}

// LimitMemory has Go keep below the limit of the process's container, if that has one and
// GOMEMLIMIT says nothing else: a process that collects often is slow, one that grows beyond the
// limit is killed. It returns the limit in bytes; 0 when there is none.
func LimitMemory(container int64, set bool) int64 {
	if container <= 0 || set {
		return 0
	}
	limit := int64(float64(container) * telemetry.MemoryShare)
	debug.SetMemoryLimit(limit)
	return limit
}
