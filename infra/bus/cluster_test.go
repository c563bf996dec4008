package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check/fault"
)

// serverEnv makes the test binary a bus node of its own, which a test can kill:
// name, folder, client address, cluster address and routes, with spaces between.
const serverEnv = "KLIVE_TEST_BUS_NODE"

func TestMain(m *testing.M) {
	if settings := os.Getenv(serverEnv); settings != "" {
		if err := serveNode(strings.Fields(settings)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serveNode is a node that ends when its standard input does.
func serveNode(f []string) error {
	c := bus.ServerConfig{Name: f[0], Dir: f[1], Listen: f[2], MaxMemory: 4 << 30}
	if strings.Contains(f[4], ",") {
		c.ClusterName, c.ClusterListen, c.Routes = "test", f[3], f[4]
	}
	s, err := bus.StartServer(context.Background(), c)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// cluster is nodes that are processes of their own; a single one is no cluster.
type cluster struct {
	url   string
	nodes map[string]*exec.Cmd // by name
	with  map[string][]string  // their settings
}

func startCluster(t testing.TB, n int) *cluster {
	t.Helper()
	c := &cluster{nodes: map[string]*exec.Cmd{}, with: map[string][]string{}}
	clients, peers := fault.Ports(t, n), fault.Ports(t, n)
	c.url = "nats://" + strings.Join(clients, ",nats://")
	for i := range n {
		name := fmt.Sprint("node", i+1)
		c.with[name] = []string{name, t.TempDir(), clients[i], peers[i], "nats://" + strings.Join(peers, ",nats://")}
		c.start(t, name)
	}
	return c
}

func startProcess(t testing.TB, settings ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+strings.Join(settings, " "))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("node %s: %q, %v", settings[0], line, err)
	}
	return cmd
}

// start starts a node, as it was before.
func (c *cluster) start(t testing.TB, name string) {
	t.Helper()
	c.nodes[name] = startProcess(t, c.with[name]...)
}

// wipe ends nodes without a word and starts them with empty folders.
func (c *cluster) wipe(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		c.kill(t, name)
		c.with[name][1] = t.TempDir()
	}
	for _, name := range names {
		c.start(t, name)
	}
}

// pids are the nodes' processes.
func (c *cluster) pids() (list []int) {
	for _, cmd := range c.nodes {
		list = append(list, cmd.Process.Pid)
	}
	return list
}

// kill ends a node's process without a word.
func (c *cluster) kill(t testing.TB, name string) {
	t.Helper()
	cmd := c.nodes[name]
	if cmd == nil {
		t.Fatalf("no node is called %q", name)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func (c *cluster) connect(t testing.TB, replicas int) *bus.Control {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var control *bus.Control
	eventually(t, func() (err error) {
		control, err = bus.Connect(ctx, bus.ConnectConfig{URL: c.url, Name: "test", Replicas: replicas})
		return err
	})
	t.Cleanup(control.Close)
	return control
}

// patience is how long a cluster is given for what it comes to by itself. On an idle machine that
// takes seconds; one with too much to do delays its elections again and again.
const patience = 2 * time.Minute

// opened is what open makes or finds on a cluster, which may elect a leader for it first.
func opened[T any](t testing.TB, open func() (T, error)) (found T) {
	t.Helper()
	eventually(t, func() (err error) {
		found, err = open()
		return err
	})
	return found
}

// clusterBucket, clusterLog and clusterStreams are openBucket, openLog and openStreams with patience.
func clusterBucket(t *testing.T, c *bus.Control, config bus.BucketConfig) *bus.Bucket {
	t.Helper()
	return opened(t, func() (*bus.Bucket, error) { return c.Bucket(t.Context(), config) })
}

func clusterLog(t *testing.T, c *bus.Control, config bus.LogConfig) *bus.Log {
	t.Helper()
	return opened(t, func() (*bus.Log, error) { return c.Log(t.Context(), config) })
}

func clusterStreams(t *testing.T, c *bus.Control, config bus.StreamsConfig) *bus.Streams {
	t.Helper()
	if config.Decode == nil {
		config.Decode = bustest.DecodeBody
	}
	s := opened(t, func() (*bus.Streams, error) { return bus.NewStreams(t.Context(), c, config) })
	t.Cleanup(s.Close)
	return s
}

// clusterReceive is receive with patience.
func clusterReceive(t *testing.T, f bus.Follower, seq uint64, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	receiveBy(t, ctx, f, seq, id)
}

// eventually tries until f succeeds, and loses its patience in the end: with a try that began
// when that was over, for a machine may stand still in the midst of one.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		last := time.Now().After(deadline)
		err := f()
		if err == nil {
			return
		}
		if last || errors.Is(err, bus.ErrInvalid) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
