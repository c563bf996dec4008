package node

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/check/fault"
	"klive/infra/config"
	"klive/infra/live"
	"klive/infra/telemetry"
)

// busSettings are those of a bus node on free ports of this host.
func busSettings(t *testing.T) *config.Config {
	t.Helper()
	c := config.Default()
	c.Data, c.RTMP.Listen, c.HTTP.Listen = t.TempDir(), "", ""
	c.Bus.Listen, c.Admin.Listen = fault.Ports(t, 1)[0], fault.Ports(t, 1)[0]
	return c
}

func startBusNode(t *testing.T, c *config.Config, log *slog.Logger) *Node {
	t.Helper()
	n, err := StartBus(t.Context(), Config{Settings: c, Version: "test", Log: log, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// get asks a node's admin listener.
func get(t *testing.T, c *config.Config, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + c.Admin.Listen + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// A node of the bus is among the nodes, and says of what it does not know that it is not here.
func TestBusNodeAdmin(t *testing.T) {
	c := busSettings(t)
	n := startBusNode(t, c, slog.New(slog.DiscardHandler))
	defer n.Close(t.Context())
	if code, text := get(t, c, "/readyz"); code != http.StatusOK || text != "ready\n" {
		t.Errorf("/readyz: %d %s", code, text)
	}
	code, text := get(t, c, "/v1/nodes")
	var list struct{ Nodes []admin.NodeState }
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK || len(list.Nodes) != 1 {
		t.Fatalf("/v1/nodes: %d %s: %v", code, text, err)
	}
	if s := list.Nodes[0]; !s.Self || !s.Ready || len(s.Roles) != 1 || s.Roles[0] != "bus" {
		t.Errorf("/v1/nodes: %+v", s)
	}
	for _, path := range []string{"/", "/v1/streams", "/v1/streams/0_abc", "/v1/entries", "/v1/server"} {
		if code, text := get(t, c, path); code != http.StatusNotFound || !strings.Contains(text, "a node of klive's bus") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}

// The name of a cluster's node comes from its place, stays with its folder, and may be another's
// that is gone, in an empty one.
func TestBusNodeName(t *testing.T) {
	c := busSettings(t)
	c.Bus.Cluster.Listen = fault.Ports(t, 1)[0]
	c.Bus.Cluster.Routes = "nats://" + c.Bus.Cluster.Listen + ",nats://" + fault.Ports(t, 1)[0]
	place := strings.ReplaceAll(c.Bus.Cluster.Listen, ":", "-")
	start := func(node, want string, warns bool) {
		t.Helper()
		var log buffer
		c.Bus.Cluster.Node = node
		n := startBusNode(t, c, slog.New(slog.NewTextHandler(&log, nil)))
		defer n.Close(t.Context())
		if n.process != want {
			t.Errorf("the node is called %q, want %q", n.process, want)
		}
		if warned := strings.Contains(log.String(), "belongs to another bus node"); warned != warns {
			t.Errorf("the log:\n%s", log.String())
		}
	}
	start("", place, false)
	start("", place, false)
	start("bus-2.example.com-6222", place, true)
	if err := os.RemoveAll(c.Data); err != nil {
		t.Fatal(err)
	}
	start("bus-2.example.com-6222", "bus-2.example.com-6222", false)
	start("", "bus-2.example.com-6222", false)
}

// The configuration of the other roles starts no bus node that nobody would join.
func TestBusNodeWithOthersFile(t *testing.T) {
	for _, spoil := range []func(*config.Config){
		func(c *config.Config) { c.Bus.Replicas = 3 },
		func(c *config.Config) { c.Bus.URL = "nats://klive:secret@bus-1:4222,nats://bus-2:4222" },
	} {
		c := busSettings(t)
		spoil(c)
		_, err := StartBus(t.Context(), Config{Settings: c, Version: "test", Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), "bus.cluster.listen") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// Two processes of a cluster never share a data folder.
func TestClusterDataFolderIsTaken(t *testing.T) {
	b := busSettings(t)
	n := startBusNode(t, b, slog.New(slog.DiscardHandler))
	defer n.Close(t.Context())
	c := config.Default()
	c.Bus.URL, c.Data, c.RTMP.Listen, c.HTTP.Listen, c.Admin.Listen, c.Internal.Listen = "nats://"+b.Bus.Listen, t.TempDir(), "", "", "", ""
	c.Storage.URL, c.Kaltura.URL = "file://"+filepath.ToSlash(t.TempDir()), "http://127.0.0.1:1"
	start := func() (*Node, error) {
		return Start(t.Context(), Config{Settings: c, Roles: Origin, Version: "test", Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	}
	first, err := start()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := start(); err == nil || !strings.Contains(err.Error(), fmt.Sprint("is held by process ", os.Getpid())) {
		t.Errorf("a second process on the same folder: %v", err)
		if second != nil {
			second.Close(t.Context())
		}
	}
	first.Close(t.Context())
	again, err := start()
	if err != nil {
		t.Fatal(err)
	}
	again.Close(t.Context())
}

// A second control plane is warned of once it has been there for longer than one that ends.
func TestSecondControl(t *testing.T) {
	var log buffer
	to := slog.New(slog.NewTextHandler(&log, nil))
	peers := []peer{{Beat: live.Beat{Name: "me", Roles: []string{"control"}}}, {Beat: live.Beat{Name: "other", Roles: []string{"control"}}}}
	var s secondControl
	begin := time.Now()
	for i := range 75 {
		s.look(to, "me", peers, begin.Add(time.Duration(i)*time.Second))
	}
	if text := log.String(); strings.Count(text, "control role too") != 2 || !strings.Contains(text, "other=other") {
		t.Errorf("the log:\n%s", text)
	}
	peers[1].Draining = true
	s.look(to, "me", peers, begin.Add(80*time.Second))
	if s != (secondControl{}) {
		t.Error("one that ends counts")
	}
}

// TestBusNodeFits: a bus node that may outgrow its container says so.
func TestBusNodeFits(t *testing.T) {
	for _, c := range []struct {
		most, container int64
		ok              bool
	}{{2 << 30, 0, true}, {2 << 30, 4 << 30, true}, {2 << 30, 2 << 30, false}, {850 << 20, 1000 << 20, true}} {
		err := fits(c.most, c.container)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "lower bus.maxMemory") {
			t.Errorf("%d MiB in %d: %v", c.most>>20, c.container>>20, err)
		}
	}
}

// A bus node says before its file descriptors come to an end that they do, and stays alive: what is connected goes on.
func TestBusNodeOfFewDescriptors(t *testing.T) {
	c := busSettings(t)
	var log buffer
	n, err := StartBus(t.Context(), Config{Settings: c, Version: "test", Log: slog.New(slog.NewTextHandler(&log, nil)), Registry: prometheus.NewRegistry(),
		Load: func() telemetry.Load { return telemetry.Load{CPU: -1, Memory: -1, Descriptors: 0.93, DiskFree: -1} }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	const want = "full: file descriptors at 93 % (limits.descriptors is 90)\n"
	if code, text := get(t, c, "/readyz"); code != http.StatusOK || text != want {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if _, text := get(t, c, "/metrics"); !strings.Contains(text, "\nklive_node_ready 0\n") || !strings.Contains(text, "\nklive_node_descriptor_share 0.93\n") || !strings.Contains(text, "\nklive_bus_connections_most ") {
		t.Errorf("/metrics:\n%s", text)
	}
	if text := log.String(); strings.Count(text, "hardly room for more connections") != 1 || !strings.Contains(text, "LimitNOFILE") {
		t.Errorf("the log:\n%s", text)
	}
}

func TestCrowded(t *testing.T) {
	for _, c := range []struct {
		clients, most int
		mark          float64
		crowded       bool
	}{{89, 100, 0.9, false}, {90, 100, 0.9, true}, {100, 100, 0.9, true}, {100, 100, 0, false}, {100, 0, 0.9, false}} {
		err := crowded(bus.ServerStats{Clients: c.clients, MaxClients: c.most}, c.mark)
		if (err != nil) != c.crowded {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
