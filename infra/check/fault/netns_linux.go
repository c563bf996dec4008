package fault

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
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

// NewNamespace makes a network namespace with so many cables, each of a network of its own that
// nothing else on this machine uses. It skips the test where namespaces can't be made: they need
// root and iproute2.
func NewNamespace(t testing.TB, cables int) (*Namespace, []*Cable) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIP: no network namespaces; they need root and iproute2 (apt-get install iproute2)")
	}
	n := &Namespace{name: fmt.Sprintf("klive-%d-%s", os.Getpid(), rand.Text()), t: t}
	if out, err := ip("netns", "add", n.name); err != nil {
		t.Skipf("SKIP: this machine makes no network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := ip("netns", "delete", n.name); err != nil {
			t.Errorf("delete a network namespace: %v: %s", err, out)
		}
	})
	n.must("-n", n.name, "link", "set", "lo", "up")
	var plugged []*Cable
	for range cables {
		plugged = append(plugged, n.plug())
	}
	return n, plugged
}

// networks are the IPv4 /24 that cables may have: 10.251.0 and so on.
const networks = 256

// plug lays a cable. Its interface on this host has the network's number for its name, and there are
// no two of a name: so no two cables have one network, whichever processes lay them.
func (n *Namespace) plug() *Cable {
	n.t.Helper()
	first := os.Getpid() // others begin elsewhere
	var last error
	for i := range networks {
		number := (first + i) % networks
		network := fmt.Sprintf("10.251.%d", number)
		c := &Cable{Here: network + ".1", There: network + ".2", device: fmt.Sprintf("klive-%d", number), t: n.t}
		if inUse(n.t, c.Here) {
			continue
		}
		if out, err := ip("link", "add", c.device, "type", "veth", "peer", "name", c.device, "netns", n.name); err != nil {
			last = fmt.Errorf("%w: %s", err, out)
			continue
		}
		n.t.Cleanup(func() { ip("link", "delete", c.device) })
		n.must("address", "add", c.Here+"/24", "dev", c.device)
		n.must("-n", n.name, "address", "add", c.There+"/24", "dev", c.device)
		n.must("link", "set", c.device, "up")
		n.must("-n", n.name, "link", "set", c.device, "up")
		return c
	}
	n.t.Fatalf("no cable can be laid: the networks from 10.251.0.0/24 on are in use on this machine, or: %v", last)
	return nil
}

// inUse says whether the address lies in a network that this host has.
func inUse(t testing.TB, address string) bool {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.Contains(net.ParseIP(address))
	})
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
