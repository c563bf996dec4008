package node

import (
	"errors"
	"fmt"
	"strings"

	"klive/infra/config"
)

// Roles says which parts of klive a process runs.
type Roles uint8

// The roles.
const (
	// Gateway takes encoders' streams.
	Gateway Roles = 1 << iota
	// LiveWorker owns live entries: it packages, stores and registers them.
	LiveWorker
	// Origin serves players.
	Origin
	// Control is Kaltura's API for people without Kaltura, and the console.
	Control
	// Transcode makes the renditions of ladders, for all live entries of the deployment.
	Transcode

	// All is what "klive serve" runs.
	All = Gateway | LiveWorker | Origin | Control | Transcode
)

// busRole is what a node of the bus calls its role to the others.
const busRole = "bus"

var roleNames = []struct {
	role Roles
	name string
}{{Gateway, "gateway"}, {LiveWorker, "worker"}, {Origin, "origin"}, {Control, "control"}, {Transcode, "transcode"}}

// Has reports whether the process runs one of the given roles.
func (r Roles) Has(some Roles) bool { return r&some != 0 }

// Names lists the roles, as nodes tell each other.
func (r Roles) Names() (names []string) {
	for _, n := range roleNames {
		if r.Has(n.role) {
			names = append(names, n.name)
		}
	}
	return names
}

func (r Roles) String() string { return strings.Join(r.Names(), ", ") }

// cluster reports whether this process is one of several that share a bus.
func cluster(c *config.Config) bool { return c.Bus.URL != "" }

// checkBusSettings says that a configuration is not that of a bus node.
func checkBusSettings(c *config.Config) error {
	if c.Bus.Cluster.Listen == "" && (c.Bus.Replicas > 1 || strings.Contains(c.Bus.URL, ",")) {
		return fmt.Errorf("this is the configuration of a process that uses a bus of several nodes (bus.url %q, bus.replicas %d), and bus.cluster.listen is empty: a node that starts with it is alone; give klive bus a file of its own, with bus.cluster.listen and bus.cluster.routes",
			withoutPasswords(c.Bus.URL), c.Bus.Replicas)
	}
	return nil
}

// checkSettings says what the roles of this process need and the configuration lacks, all
// at once.
func checkSettings(r Roles, c *config.Config) error {
	if r == All && (c.Bus.URL != "" || c.Bus.Replicas <= 1) {
		return nil // has an answer to everything
	}
	if r == All {
		return fmt.Errorf("bus.replicas is %d and bus.url is empty: the bus inside klive serve is one, and holds everything once; set bus.url to the nodes of a bus, or leave bus.replicas at 1", c.Bus.Replicas)
	}
	var lacks []error
	lack := func(missing bool, format string, args ...any) {
		if missing {
			lacks = append(lacks, fmt.Errorf(format, args...))
		}
	}
	lack(c.Bus.URL == "", `bus.url is empty: the %s role reaches the others over NATS; set it to the same servers on every node, for example nats://bus-1:4222 ("klive bus" runs one)`, r)
	lack(c.Storage.URL == "", "storage.url is empty: the nodes of a deployment share one store; set it to the same bucket on every node, s3://name/prefix?region=…, or to one folder, file:///path, while all of them are on this host")
	if r.Has(Gateway|LiveWorker) && !r.Has(Control) {
		lack(c.Kaltura.URL == "", "kaltura.url is empty: the %s role asks Kaltura's API; set it with kaltura.secret, or, with the control plane of klive, to the admin address of its control role, for example http://control-host:8081, and kaltura.secret to that one's control.secret", r)
	}
	if r.Has(Control) {
		lack(!c.Control.Enabled, "control.enabled is false: there is nothing to run in the control role")
		lack(c.Control.Secret == "", "control.secret is empty: the other nodes sign their calls of this control plane with it; set it here, and kaltura.secret to the same on the gateways and workers")
	}
	return errors.Join(lacks...)
}
