package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/config"
	"klive/infra/live"
	"klive/infra/publisher"
)

// deployment is several nodes on one bus and one folder, on pipes, in virtual time.
type deployment struct {
	t     *testing.T
	bus   *bus.Node
	store string
	log   *buffer

	mu    sync.Mutex // guards the field below
	nodes map[string]*member
}

// member is one node with its way to the bus, which can be cut.
type member struct {
	*Node
	net     *check.Pipes
	control *bus.Control

	mu    sync.Mutex // guards the fields below
	conns []net.Conn
	cut   bool
}

func (m *member) dial(ctx context.Context, n *bus.Node) (net.Conn, error) {
	conn, err := n.Dial(ctx, "", "")
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.cut {
		conn.Close()
		return nil, net.ErrClosed
	}
	m.conns = append(m.conns, conn)
	return conn, err
}

// part cuts the node off from the bus, or lets it go there again.
func (m *member) part(cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = cut
	if cut {
		for _, c := range m.conns {
			c.Close()
		}
		m.conns = nil
	}
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{t: t, bus: bustest.StartNode(t), store: "file://" + t.TempDir(), log: &buffer{}, nodes: map[string]*member{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes said:\n%s", d.log)
		}
	})
	return d
}

// at is the listener of a node, by the node's name.
func (d *deployment) at(name, key string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to := name
		if to == "" {
			to, _, _ = strings.Cut(address, ":")
		}
		d.mu.Lock()
		m := d.nodes[to]
		d.mu.Unlock()
		if m == nil {
			return nil, io.ErrClosedPipe
		}
		return m.net.Dialer(key)(ctx, network, address)
	}
}

// start starts a node, which ends with the test.
func (d *deployment) start(name string, roles Roles, change ...func(*config.Config)) *member {
	d.t.Helper()
	c := config.Default()
	c.Data = d.t.TempDir()
	c.Bus.URL, c.Storage.URL, c.Kaltura.URL = "nats://bus:4222", d.store, "http://control:8081"
	c.Kaltura.Secret, c.Control.Secret, c.Cluster.Secret = "0123456789abcdef", "0123456789abcdef", "the-secret-of-all-nodes"
	c.Internal.Address = name + ":8082"
	for _, f := range change {
		f(c)
	}
	m := &member{net: check.NewPipes()}
	d.mu.Lock()
	d.nodes[name] = m
	d.mu.Unlock()
	var err error
	m.control, err = d.bus.ConnectBy(d.t.Context(), name, func(ctx context.Context, _, _ string) (net.Conn, error) { return m.dial(ctx, d.bus) })
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(m.control.Close)
	m.Node, err = Start(d.t.Context(), Config{
		Settings: c, Roles: roles, Version: "test", Registry: prometheus.NewRegistry(), Listen: m.net.Listen, Control: m.control,
		Transport:    &http.Transport{DisableKeepAlives: true, DialContext: d.at("control", "admin.listen")},
		DialInternal: d.at("", "internal.listen"),
		Log:          slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name),
	})
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", name, err, d.log)
	}
	d.t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

// publish connects an encoder to a gateway.
func (d *deployment) publish(gateway string) (*encoder, error) {
	return d.publishTo(gateway, "0_demolive", "demo1234")
}

func (d *deployment) publishTo(gateway, entry, token string) (*encoder, error) {
	clip, err := publisher.NewSynthetic(publisher.Synthetic{GOP: time.Second})
	if err != nil {
		d.t.Fatal(err)
	}
	p, err := publisher.Dial(d.t.Context(), publisher.Config{
		URL: fmt.Sprintf("rtmp://klive/kLive/?p=102&e=%[1]s&i=0&t=%[2]s/%[1]s_1", entry, token), DialContext: d.at(gateway, "rtmp.listen"),
	})
	if err != nil {
		return nil, err
	}
	return &encoder{p, clip}, nil
}

// ask calls a listener of a node.
func (d *deployment) ask(node, key, method, path, body string) (int, string) {
	d.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: d.at(node, key), DisableKeepAlives: true}}
	r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// get reads JSON from a node's admin listener.
func (d *deployment) get(node, path string, into any) {
	d.t.Helper()
	code, text := d.ask(node, "admin.listen", http.MethodGet, path, "")
	if err := json.Unmarshal([]byte(text), into); err != nil || code != http.StatusOK {
		d.t.Fatalf("%s of %s: %d %s", path, node, code, text)
	}
}

// All roles apart: a stream goes in at a gateway and out at an origin, each node knows of
// the others, and an operator ends the stream from a node that has nothing to do with it.
func TestDeployment(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		gw := d.start("gateway", Gateway)
		worker := d.start("worker", LiveWorker)
		d.start("origin", Origin)
		e, err := d.publish("gateway")
		if err != nil {
			t.Fatal(err)
		}
		playing := make(chan error, 1)
		go func() { playing <- e.play(time.Hour) }()
		time.Sleep(21500 * time.Millisecond)
		if code, text := d.ask("origin", "http.listen", http.MethodGet, mediaPlaylist, ""); code != http.StatusOK || length(t, text) < 19*time.Second {
			t.Errorf("the origin answers %d %s", code, text)
		}
		if code, _ := d.ask("gateway", "http.listen", http.MethodGet, mediaPlaylist, ""); code != http.StatusNotFound {
			t.Errorf("a gateway serves players: %d", code)
		}

		var nodes struct{ Nodes []admin.NodeState }
		d.get("control", "/v1/nodes", &nodes)
		var roles []string
		for _, n := range nodes.Nodes {
			roles = append(roles, n.Roles...)
			if !n.Ready || n.Version != "test" || n.Self != (n.Roles[0] == "control") {
				t.Errorf("node %+v", n)
			}
			if n.Roles[0] == "gateway" && (n.Feeds != 1 || n.Address != "gateway:8082") || n.Roles[0] == "worker" && n.Owned != 1 {
				t.Errorf("node %+v", n)
			}
		}
		if slices.Sort(roles); !slices.Equal(roles, []string{"control", "gateway", "origin", "worker"}) {
			t.Errorf("nodes with roles %v", roles)
		}
		var entries struct {
			Entries []struct {
				ID, Name string
				Live     *admin.LiveEntry
			}
		}
		d.get("gateway", "/v1/entries", &entries)
		if len(entries.Entries) != 1 || entries.Entries[0].Live == nil {
			t.Fatalf("entries %+v", entries)
		}
		if l := entries.Entries[0].Live; l.Owner != worker.process || l.Health != admin.HealthLive || l.LastSeq < 5 || l.Lag > 8 || !slices.Equal(l.Feeds, []string{"0_demolive.0.1"}) {
			t.Errorf("entry %+v", l)
		}
		if _, text := d.ask("control", "admin.listen", http.MethodGet, "/v1/entries", ""); !strings.Contains(text, `"server":"rtmp://gateway:1935/kLive/?p=102`) || strings.Contains(text, "localhost") {
			t.Errorf("the control role, which has no RTMP and no players, shows %s", text)
		}
		d.get("control", "/v1/entries", &entries)
		if len(entries.Entries) != 1 || entries.Entries[0].Name == "" || entries.Entries[0].Live == nil {
			t.Errorf("on the control plane: %+v", entries)
		}

		if code, text := d.ask("origin", "admin.listen", http.MethodPost, "/v1/feeds/0_demolive.1.1/kick", ""); code != http.StatusNotFound || !strings.Contains(text, "not on the air") {
			t.Errorf("no such feed: %d %s", code, text)
		}
		for _, broken := range []string{`{"reason":`, "reason=x", `{"reason":1}`, `"` + strings.Repeat("x", maxKick) + `"`} {
			if code, text := d.ask("control", "admin.listen", http.MethodPost, "/v1/feeds/0_demolive.0.1/kick", broken); code != http.StatusBadRequest || !strings.Contains(text, "the stream goes on") {
				t.Errorf("kick with %.20s: %d %s", broken, code, text)
			}
		}
		code, text := d.ask("control", "admin.listen", http.MethodPost, "/v1/feeds/0_demolive.0.1/kick", `{"reason":"the show is over"}`)
		if err := <-playing; code != http.StatusOK || err == nil || !strings.Contains(err.Error(), "the show is over") {
			t.Errorf("kick: %d %s; the encoder heard %v", code, text, err)
		}
		e.Abort()
		if n := len(gw.gateway.Sessions()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// What is asked on the internal listener needs the deployment's secret.
func TestInternalListenerIsGuarded(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		d.start("gateway", Gateway)
		if code, text := d.ask("gateway", "internal.listen", http.MethodPost, "/v1/feeds/0_demolive.0.1/kick", ""); code != http.StatusForbidden || !strings.Contains(text, "cluster.secret") {
			t.Errorf("answer %d %s", code, text)
		}
	})
}

// An encoder whose gateway hangs comes back at another gateway: within three seconds of
// silence the new one has the stream, and the old one ends.
func TestEncoderMovesToAnotherGateway(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		first := d.start("gateway", Gateway)
		d.start("gateway-2", Gateway)
		d.start("worker", LiveWorker)
		d.start("origin", Origin)
		e, err := d.publish("gateway")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.play(12 * time.Second); err != nil { // and then it sends nothing, with its connection open
			t.Fatal(err)
		}
		silent := time.Now()
		again, err := d.publish("gateway-2")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(silent); took > 3250*time.Millisecond {
			t.Errorf("the take-over took %v", took)
		}
		if err := again.play(12 * time.Second); err != nil {
			t.Fatal(err)
		}
		if n := len(first.gateway.Sessions()); n != 0 {
			t.Errorf("the first gateway holds %d sessions", n)
		}
		e.Abort()
		again.Close()
		time.Sleep(time.Second)
		d.continuous(23 * time.Second)
	})
}

// continuous checks that the playlist has at least so much, with one discontinuity.
func (d *deployment) continuous(least time.Duration) {
	d.t.Helper()
	code, text := d.ask("origin", "http.listen", http.MethodGet, mediaPlaylist, "")
	if code != http.StatusOK || length(d.t, text) < least || strings.Count(text, "#EXT-X-DISCONTINUITY\n") != 1 || strings.Contains(text, "GAP") {
		d.t.Errorf("%d, %v of media:\n%s", code, length(d.t, text), text)
	}
}

// A gateway that has lost the bus keeps its encoder and takes no other; another gateway may
// take the stream over, and what the first one still holds changes nothing.
func TestGatewayPartedFromBus(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		first := d.start("gateway", Gateway)
		d.start("gateway-2", Gateway)
		d.start("worker", LiveWorker)
		d.start("origin", Origin)
		e, err := d.publish("gateway")
		if err != nil {
			t.Fatal(err)
		}
		zombie := make(chan error, 1)
		go func() { zombie <- e.play(time.Hour) }()
		time.Sleep(12 * time.Second)
		first.part(true)
		time.Sleep(time.Second)
		if err := first.Ready(t.Context()); err != nil {
			t.Errorf("after a second: %v", err)
		}
		time.Sleep(2500 * time.Millisecond)
		if err := first.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the bus has not answered for") {
			t.Errorf("after three and a half seconds: %v", err)
		}
		if _, err := d.publish("gateway"); err == nil || !strings.Contains(err.Error(), "can't take a stream yet") {
			t.Errorf("another encoder hears %v", err)
		}
		again, err := d.publish("gateway-2")
		if err != nil {
			t.Fatal(err)
		}
		if err := again.play(12 * time.Second); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-zombie:
			t.Fatalf("the first encoder was dropped: %v", err)
		default:
		}
		first.part(false)
		if err := <-zombie; err == nil || !strings.Contains(err.Error(), "published by another connection") {
			t.Errorf("the first encoder heard %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := first.Ready(t.Context()); err != nil {
			t.Errorf("back on the bus: %v", err)
		}
		e.Abort()
		again.Close()
		time.Sleep(time.Second)
		d.continuous(22 * time.Second)
	})
}

// A bus that is away for less than it takes to call a gateway dead costs nothing: the gateway
// sends what it kept.
func TestBusAwayForAMoment(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		gw := d.start("gateway", Gateway)
		d.start("worker", LiveWorker)
		d.start("origin", Origin)
		e, err := d.publish("gateway")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10300*time.Millisecond, func() { gw.part(true) })
		time.AfterFunc(12300*time.Millisecond, func() { gw.part(false) })
		if err := e.play(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		e.Close()
		time.Sleep(2 * time.Second)
		code, text := d.ask("origin", "http.listen", http.MethodGet, mediaPlaylist, "")
		if got := length(t, text); code != http.StatusOK || (got-30*time.Second).Abs() > 100*time.Millisecond || strings.Contains(text, "DISCONTINUITY\n") || strings.Contains(text, "GAP") {
			t.Errorf("%d, %v of media:\n%s", code, got, text)
		}
	})
}

// A node whose clock is off takes no streams, and says so.
func TestClockIsHeldAgainstTheOthers(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		n := d.start("control", Control)
		other := func(name string, off time.Duration) *bus.Beats {
			b, err := bus.StartBeats(t.Context(), bustest.Connect(t, d.bus, name), bus.BeatsConfig{Name: name, Payload: func() []byte {
				wire, err := live.Beat{Name: name, Time: time.Now().Add(off)}.Marshal()
				if err != nil {
					t.Error(err)
				}
				return wire
			}})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		ready := func() string {
			time.Sleep((clockLooks + 2) * time.Second)
			rec := httptest.NewRecorder()
			answerHealth(rec, n.Ready(t.Context()))
			return rec.Body.String()
		}
		a := other("a", -3*time.Second)
		if got := ready(); got != "ok\n" {
			t.Errorf("one other is no jury, and the bus agrees: %s", got)
		}
		b := other("b", -2*time.Second)
		if got := ready(); got != "not ready: this host's clock is 2s ahead of the other nodes'; let it follow a time server (NTP)\n" {
			t.Errorf("two others: %s", got)
		}
		c, e := other("c", 0), other("e", 300*time.Millisecond)
		if got := ready(); got != "ok\n" {
			t.Errorf("the median agrees: %s", got)
		}
		if text := d.log.String(); strings.Count(text, "this node takes no streams") != 1 || strings.Count(text, "agrees with the other nodes' again") != 1 {
			t.Error("the log has no line for each turn")
		}
		for _, o := range []*bus.Beats{a, b, c, e} {
			o.Close()
		}
	})
}
