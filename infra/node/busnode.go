package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/admin"
	"klive/infra/bus"
)

// StartBus runs a node of the bus that a deployment's processes share, with an admin
// listener. It returns when the node listens; in a cluster it is ready when enough of the
// others are there.
func StartBus(ctx context.Context, c Config) (*Node, error) {
	if c.Settings == nil || c.Log == nil || c.Registry == nil {
		return nil, errors.New("node: Settings, Log and Registry are required")
	}
	if c.Listen == nil {
		c.Listen = ListenTCP
	}
	n := &Node{cfg: c, settings: c.Settings, log: c.Log, failed: make(chan error, 1)}
	n.showReadiness()
	if err := firstError(ctx, n.openListeners, n.startBusAdmin, n.startServer, n.closeHTTPHere); err != nil {
		n.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	n.assembled.Store(true)
	return n, nil
}

// startServer starts the NATS node. Its name is kept, because by it the others know its data.
func (n *Node) startServer(ctx context.Context) (err error) {
	b := n.settings.Bus
	if err := os.MkdirAll(n.settings.Data, 0o755); err != nil {
		return fmt.Errorf("can't make the data folder: %w; choose one that can be written (key data)", err)
	}
	if n.process, err = keptName(filepath.Join(n.settings.Data, processFile)); err != nil {
		return err
	}
	n.server, err = bus.StartServer(ctx, bus.ServerConfig{
		Name: n.process, Dir: filepath.Join(n.settings.Data, "bus"), Listen: b.Listen,
		ClusterName: b.Cluster.Name, ClusterListen: b.Cluster.Listen, Routes: b.Cluster.Routes,
		User: b.User, Password: b.Password.Reveal(), TLS: busTLS(n.settings),
		MaxMemory: int64(b.MaxMemory), MaxStore: int64(b.MaxStore), Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.server.Close() })
	gauge := func(name, help string, of func(bus.ServerStats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s, err := n.server.Stats()
			if err != nil {
				return 0
			}
			return of(s)
		})
	}
	n.cfg.Registry.MustRegister(
		gauge("klive_bus_memory_bytes", "What buckets, logs and media streams take in this bus node's memory.", func(s bus.ServerStats) float64 { return float64(s.Memory) }),
		gauge("klive_bus_store_bytes", "What they take on its disk.", func(s bus.ServerStats) float64 { return float64(s.Store) }),
		gauge("klive_bus_connections", "Processes that are connected to it.", func(s bus.ServerStats) float64 { return float64(s.Clients) }),
	)
	return nil
}

// startBusAdmin answers operators.
func (n *Node) startBusAdmin(ctx context.Context) error {
	if n.listeners.admin == nil {
		return nil
	}
	h, err := admin.New(admin.Config{
		Log: n.log, Version: n.cfg.Version, Token: n.settings.Admin.Token.Reveal(),
		Streams: noStreams{}, Metrics: n.cfg.Registry, Ready: n.Ready,
	})
	if err != nil {
		return err
	}
	n.servers = append(n.servers, n.serve("admin.listen", n.listeners.admin, h, requestTimeout, 0))
	return n.closeHTTPHere(ctx)
}

// noStreams is what a node of the bus knows of them.
type noStreams struct{}

var errBusNode = errors.New("this process is a node of the bus and knows nothing of streams: ask one of the others")

// Streams implements [admin.Streams].
func (noStreams) Streams(context.Context) ([]admin.Stream, error) { return nil, errBusNode }
