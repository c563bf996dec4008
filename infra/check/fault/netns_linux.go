package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Namespace is a network namespace: a host of its own, with cables to this one. It ends with
// the test.
type Namespace struct {
	name string
	t    testing.TB
}

// Cable joins a namespace and this host by a pair of virtual interfaces.
type Cable struct {
	// Here and There are the addresses of its two ends.
	Here, There string

	device string // this host's end
	t      testing.TB
}

// NewNamespace makes a network namespace with one cable for each network. A network is the
// first three numbers of an IPv4 /24 that nothing else uses, "10.251.1". It skips the test
// where namespaces can't be made: they need root and iproute2.
func NewNamespace(t testing.TB, networks ...string) (*Namespace, []*Cable) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIP: no network namespaces; they need root and iproute2 (apt-get install iproute2)")
	}
	n := &Namespace{name: fmt.Sprintf("klive-%d-%s", os.Getpid(), strings.ReplaceAll(networks[0], ".", "-")), t: t}
	if out, err := ip("netns", "add", n.name); err != nil {
		t.Skipf("SKIP: this machine makes no network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := ip("netns", "delete", n.name); err != nil {
			t.Errorf("delete a network namespace: %v: %s", err, out)
		}
	})
	n.must("-n", n.name, "link", "set", "lo", "up")
	cables := make([]*Cable, len(networks))
	for i, network := range networks {
		cables[i] = n.plug(network)
	}
	return n, cables
}

// plug lays a cable. Names of interfaces have 15 characters at most.
func (n *Namespace) plug(network string) *Cable {
	n.t.Helper()
	last := network[strings.LastIndexByte(network, '.')+1:]
	here, there := fmt.Sprintf("kl%dh%s", os.Getpid(), last), fmt.Sprintf("kl%dt%s", os.Getpid(), last)
	c := &Cable{Here: network + ".1", There: network + ".2", device: here, t: n.t}
	n.must("link", "add", here, "type", "veth", "peer", "name", there, "netns", n.name)
	n.t.Cleanup(func() { ip("link", "delete", here) })
	n.must("address", "add", c.Here+"/24", "dev", here)
	n.must("-n", n.name, "address", "add", c.There+"/24", "dev", there)
	n.must("link", "set", here, "up")
	n.must("-n", n.name, "link", "set", there, "up")
	return c
}

func (n *Namespace) must(args ...string) {
	n.t.Helper()
	if out, err := ip(args...); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Down pulls the cable: packets of both directions vanish, nobody is told.
func (c *Cable) Down() { c.set("down") }

// Up plugs it in again.
func (c *Cable) Up() { c.set("up") }

func (c *Cable) set(state string) {
	c.t.Helper()
	if out, err := ip("link", "set", c.device, state); err != nil {
		c.t.Fatalf("cable %s: %v: %s", state, err, out)
	}
}

// command is how a program runs in the namespace; the process keeps its id.
func (n *Namespace) command(path string, args []string) (string, []string) {
	return "ip", append([]string{"netns", "exec", n.name, path}, args...)
}

func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
