package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/config"
	"klive/infra/node"
)

// service is klive in this process, on pipes instead of sockets: the whole of it as one node,
// or several nodes that share a bus and a folder.
type service struct {
	t     *testing.T
	bus   *bus.Node // nil for one node
	nodes map[string]*instance
	plane *check.Pipes // of the node that has the control plane
	env   []string     // of every node
	calls callLog
	api   apiFaults
	work  node.Transcoder // works off transcode jobs; may be nil
	http  *http.Client
	log   lines
}

// instance is one node with its ways to the others, which can be cut.
type instance struct {
	*node.Node
	net     *check.Pipes
	gate    gate
	started chan struct{} // closed when it has
}

// startUp is how long nodes ask the API what they want to know before the first encoder.
const startUp = time.Second

// startService starts the service of a scenario; it ends with the test. In a synctest bubble it
// lives in virtual time; [bustest.Prepare] has to come before the bubble.
func startService(t *testing.T, scenario *check.Scenario) *service {
	t.Helper()
	return startServiceWith(t, scenario, nil)
}

// startServiceWith is startService with something that works off transcode jobs.
func startServiceWith(t *testing.T, scenario *check.Scenario, work node.Transcoder) *service {
	t.Helper()
	s := &service{t: t, nodes: map[string]*instance{}, work: work, env: []string{
		config.EnvName("kaltura.hostname") + "=ms1.example.com", config.EnvName("control.secret") + "=" + controlSecret,
		config.EnvName("rtmps.listen") + "=", config.EnvName("https.listen") + "=",
		config.EnvName("kaltura.keepAliveJitter") + "=0s", // the lists of calls have exact times
		config.EnvName("transcode.encoder") + "=none",     // virtual time has no subprocesses
		config.EnvName("recording.enabled") + "=false",    // what is recorded has tests of its own; its calls bear drawn names
	}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the service said:\n%s", &s.log)
		}
	})
	for _, set := range scenario.Settings {
		s.env = append(s.env, config.EnvName(set.Key)+"="+set.Value)
	}
	origin := ""
	if len(scenario.Nodes) == 0 {
		m := s.prepare("")
		s.plane = m.net
		s.launch(m, "", node.All, bustest.Start(t))
	} else {
		s.share()
		origin = scenario.With("origin").Name
		s.boot(scenario)
		time.Sleep(startUp)
	}
	player := &http.Transport{DialContext: s.nodes[origin].gate.through(s.nodes[origin].net.Dialer("http.listen"))}
	s.http = &http.Client{Transport: player}
	t.Cleanup(player.CloseIdleConnections)
	return s
}

// share gives the nodes a bus, a folder and the control plane in common.
func (s *service) share() {
	s.bus = bustest.StartNode(s.t)
	for key, value := range map[string]string{
		"bus.url": "nats://bus:4222", "storage.url": "file://" + s.t.TempDir(), "kaltura.url": "http://control:8081",
		"kaltura.secret": controlSecret, "cluster.secret": "the-secret-of-all-nodes",
	} {
		s.env = append(s.env, config.EnvName(key)+"="+value)
	}
}

var nodeRoles = map[string]node.Roles{"gateway": node.Gateway, "worker": node.LiveWorker, "origin": node.Origin, "control": node.Control}

// boot starts the nodes of a scenario, the control plane before those that ask it. Those that
// start later do so beside the scenario.
func (s *service) boot(scenario *check.Scenario) {
	control := scenario.With("control").Name
	for _, spec := range scenario.Nodes {
		s.prepare(spec.Name)
	}
	s.plane = s.nodes[control].net
	s.run(*scenario.With("control"))
	ctx, stop := context.WithCancel(context.Background())
	var later sync.WaitGroup
	s.t.Cleanup(func() { stop(); later.Wait() })
	for _, spec := range scenario.Nodes {
		switch {
		case spec.Name == control:
		case spec.Start == 0:
			s.run(spec)
		default:
			later.Go(func() {
				select {
				case <-ctx.Done():
				case <-time.After(spec.Start):
					s.run(spec)
				}
			})
		}
	}
}

func rolesOf(spec check.NodeSpec) (roles node.Roles) {
	for _, r := range spec.Roles {
		roles |= nodeRoles[r]
	}
	return roles
}

// prepare makes what a node of several needs before it runs.
func (s *service) prepare(name string) *instance {
	m := &instance{net: check.NewPipes(), started: make(chan struct{})}
	s.nodes[name] = m
	return m
}

// run starts one node of several.
func (s *service) run(spec check.NodeSpec) {
	m, name := s.nodes[spec.Name], spec.Name
	control, err := s.bus.ConnectBy(context.Background(), name, m.gate.through(s.bus.Dial))
	if err != nil {
		s.t.Errorf("node %s: %v", name, err)
		return
	}
	s.t.Cleanup(control.Close)
	s.launch(m, name, rolesOf(spec), control)
}

// launch starts a node.
func (s *service) launch(m *instance, name string, roles node.Roles, control *bus.Control) {
	env := append([]string{config.EnvName("data") + "=" + s.t.TempDir()}, s.env...)
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if name != "" {
		env = append(env, config.EnvName("internal.address")+"="+strings.ToLower(name)+":8082")
		log = log.With("node", name)
	}
	cfg, _, err := config.Load("", env)
	if err != nil {
		s.t.Errorf("node %s: %v", name, err)
		return
	}
	api := &http.Transport{DialContext: m.gate.through(s.plane.Dialer("admin.listen")), DisableKeepAlives: true}
	m.Node, err = node.Start(context.Background(), node.Config{
		Settings: cfg, Roles: roles, Version: "test", Registry: prometheus.NewRegistry(), Listen: m.net.Listen,
		Log: log, Control: control, Transport: s.api.before(api),
		Observe:    func(next http.Handler) http.Handler { return s.calls.observe(s.api.refusing(next)) },
		Transcoder: s.work,
	})
	if err != nil {
		s.t.Errorf("node %s: %v\n%s", name, err, &s.log)
		return
	}
	close(m.started)
	s.t.Cleanup(func() {
		m.gate.set(false)
		m.Close(context.Background())
		api.CloseIdleConnections()
	})
}

// system is the service as scenarios see it.
func (s *service) system() *check.System {
	return &check.System{
		DialRTMP: func(name string) func(context.Context, string, string) (net.Conn, error) {
			m := s.nodes[name]
			return m.gate.through(m.net.Dialer("rtmp.listen"))
		},
		HTTP: s.http, Base: "http://klive.test", Calls: s.calls.list, Do: s.do,
	}
}

// do makes happen what a scenario says of the service.
func (s *service) do(ctx context.Context, e check.Event) error {
	switch e.Verb {
	case "away":
		s.api.leave(e.For)
	case "refuse":
		s.api.refuse(e.Action, e.Code)
	case "pin":
		return s.pin(ctx, e.Index)
	case "kill", "end":
		m := s.nodes[e.Node]
		select {
		case <-m.started:
		case <-ctx.Done():
			return fmt.Errorf("node %s has not started", e.Node)
		}
		if e.Verb == "kill" {
			m.gate.set(true)
		} else {
			m.Close(context.Background())
		}
	default:
		return fmt.Errorf("nothing is known of %s", e.Verb)
	}
	return nil
}
