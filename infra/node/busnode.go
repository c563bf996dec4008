package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/telemetry"
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
	if err := checkBusSettings(c.Settings); err != nil {
		return nil, err
	}
	n := &Node{cfg: c, settings: c.Settings, log: c.Log, failed: make(chan error, 1)}
	n.showReadiness()
	if err := firstError(ctx, n.openListeners, n.startBusAdmin, n.startServer, n.closeHTTPHere, n.startBusBeats); err != nil {
		n.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	n.assembled.Store(true)
	n.tell()
	return n, nil
}

// startServer starts the NATS node.
func (n *Node) startServer(ctx context.Context) (err error) {
	b := n.settings.Bus
	if err := os.MkdirAll(n.settings.Data, 0o755); err != nil {
		return fmt.Errorf("can't make the data folder: %w; choose one that can be written (key data)", err)
	}
	c := bus.ServerConfig{
		Dir: filepath.Join(n.settings.Data, "bus"), Listen: b.Listen,
		ClusterName: b.Cluster.Name, ClusterListen: b.Cluster.Listen, Routes: b.Cluster.Routes,
		User: b.User, Password: b.Password.Reveal(), TLS: busTLS(n.settings),
		MaxMemory: int64(b.MaxMemory), MaxStore: int64(b.MaxStore), Logger: n.log,
	}
	// Go has raised the soft limit to the hard one (package syscall), so this is all that the process may have.
	if most, ok := telemetry.DescriptorLimit(); ok {
		c.Descriptors = most
		if most < bus.EnoughDescriptors {
			n.log.Warn("this bus node may run out of file descriptors: let it have more (ulimit -n, LimitNOFILE)", "descriptors", most, "want", bus.EnoughDescriptors)
		}
	}
	if err := fits(c.MaxMemory, telemetry.ContainerMemory()); err != nil {
		n.log.Warn("this bus node may be killed when it holds much", "error", err)
	}
	if n.process, err = n.busName(ctx, &c); err != nil {
		return err
	}
	c.Name = n.process
	if n.server, err = bus.StartServer(ctx, c); err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.server.Close() })
	n.watchDisk(ctx, n.server.Broken)
	n.watchDescriptors(ctx)
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
		gauge("klive_bus_nodes_connected", "Other nodes of the bus that this one is connected to.", func(s bus.ServerStats) float64 { return float64(len(s.Peers)) }),
		gauge("klive_bus_nodes_configured", "Other nodes of the bus that bus.cluster.routes names.", func(s bus.ServerStats) float64 { return float64(s.Others) }),
		gauge("klive_bus_connections", "Processes that are connected to it.", func(s bus.ServerStats) float64 { return float64(s.Clients) }),
		gauge("klive_bus_connections_most", "Processes that may be connected to it, by its file descriptors.", func(s bus.ServerStats) float64 { return float64(s.MaxClients) }),
	)
	return nil
}

// watchDescriptors has a bus node say that its descriptors come to an end before they do: one that can open no file
// stores nothing more. It refuses clients by then, and what is connected goes on.
func (n *Node) watchDescriptors(ctx context.Context) {
	l := &load{read: n.cfg.Load, log: n.log, says: [2]string{
		"this bus node has hardly room for more connections; those that it has go on: let it have more file descriptors (ulimit -n, LimitNOFILE), and look who connects",
		"this bus node has room for connections again"}}
	if l.read == nil {
		g := &telemetry.Gauge{}
		l.read = func() telemetry.Load { return g.Read(time.Now()) }
	}
	most := float64(n.settings.Limits.Descriptors) / 100
	l.mark = func(now telemetry.Load) error {
		s, err := n.server.Stats()
		if err != nil {
			s = bus.ServerStats{} // it is about to end
		}
		return errors.Join(telemetry.Marks{Descriptors: most}.Over(now, 0, 0), crowded(s, most))
	}
	n.watchLoad(ctx, l)
}

// crowded says that a bus node has nearly as many clients as it takes; nil when it has not, or when there is no mark.
func crowded(s bus.ServerStats, most float64) error {
	if most <= 0 || s.MaxClients <= 0 || float64(s.Clients) < most*float64(s.MaxClients) {
		return nil
	}
	return fmt.Errorf("%d connections of the %d that its file descriptors allow", s.Clients, s.MaxClients)
}

// fits says that a bus node may keep more in memory than its container, when it has a limit, leaves it.
func fits(most, container int64) error {
	leaves := int64(telemetry.MemoryShare * float64(container))
	if container <= 0 || most <= leaves {
		return nil
	}
	return fmt.Errorf("bus.maxMemory is %d MiB, and of its container's %d MiB it may take %d: lower bus.maxMemory and bus.retention.total, or give the container more", most>>20, container>>20, leaves>>20)
}

// startBusBeats has the others hear of this node, and this one of them.
func (n *Node) startBusBeats(ctx context.Context) (err error) {
	n.beats, err = bus.StartBeats(ctx, n.server.Control(), bus.BeatsConfig{Name: n.process, Quiet: true, Payload: n.beat, Logger: n.log})
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.beats.Close() })
	return nil
}

// busName is the node's own among those of its cluster, by which the others know its data. It
// stays with the folder. A node of a cluster whose folder is empty derives it from what stays
// the same when a folder is lost: so it takes its old place instead of one more.
func (n *Node) busName(ctx context.Context, c *bus.ServerConfig) (string, error) {
	path := filepath.Join(n.settings.Data, processFile)
	if c.ClusterListen == "" {
		return keptName(path, newName)
	}
	wanted := n.settings.Bus.Cluster.Node
	name, err := keptName(path, func() string {
		if wanted != "" {
			return wanted
		}
		return c.PlaceName(ctx)
	})
	if err == nil && wanted != "" && name != wanted {
		n.log.Warn("this data folder belongs to another bus node than bus.cluster.node names, and stays with it: to take the other's place, begin with an empty folder",
			"node", name, "bus.cluster.node", wanted)
	}
	return name, err
}

// startBusAdmin answers operators.
func (n *Node) startBusAdmin(ctx context.Context) error {
	if n.listeners.admin == nil {
		return nil
	}
	h, err := admin.New(admin.Config{
		Log: n.log, Version: n.cfg.Version, Token: n.settings.Admin.Token.Reveal(),
		Cluster: overview{n}, Metrics: n.cfg.Registry, Ready: func(context.Context) error { return n.able() }, Full: n.full, Remark: n.remark,
	})
	if err != nil {
		return err
	}
	n.servers = append(n.servers, n.serve("admin.listen", n.listeners.admin, h, requestTimeout, 0))
	return n.closeHTTPHere(ctx)
}

// remark says what a node of the bus lacks that is ready all the same.
func (n *Node) remark() string {
	if !n.assembled.Load() {
		return ""
	}
	return n.server.Missing()
}
