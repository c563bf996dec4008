package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/config"
	"klive/storage/storagetest"
)

// The secrets of a test's cluster.
const (
	busUser     = "klive"
	busPassword = "e2e-password-of-the-bus"
	s3Key       = "e2e-key"
	s3Secret    = "e2e-secret-of-the-bucket"
	bucket      = "live"
	adminToken  = "e2e-token-of-the-admin-listener"
)

// shape says what a cluster consists of. The zero value is the one of the fault tests: three
// bus nodes, two gateways, three workers, two origins, one control plane, one bucket.
type shape struct {
	buses, gateways, workers, origins int
	replicas                          int
	// settings are further settings of each process, "key=value".
	settings []string
	// of are those of one process by its name.
	of map[string][]string
	// env are further variables of a process by its name; may be nil.
	env func(name string) []string
	// binary chooses the program of a process; nil is today's for all.
	binary func(name string) string
	// in puts a process into a network namespace; nil is the host's for all. Then admin is where
	// its admin listener stands, host:port, or empty for a free loopback address, and busHost and
	// s3Host are where the bus and the relays before the store stand.
	in              func(name string) *fault.Namespace
	admin           func(name string) string
	busHost, s3Host string
	// direct leaves the relays out: nothing can happen to the store, and nothing costs this process.
	direct bool
}

func (s shape) complete() shape {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&s.buses, 3)
	set(&s.gateways, 2)
	set(&s.workers, 3)
	set(&s.origins, 2)
	set(&s.replicas, min(s.buses, 3))
	if s.busHost == "" {
		s.busHost, s.s3Host = "127.0.0.1", "127.0.0.1"
	}
	return s
}

// cluster is klive in real processes around a real S3 server.
type cluster struct {
	t     testing.TB
	shape shape
	dir   string

	buses                      []*member
	gateways, workers, origins []*member
	control                    *member
	store                      *fault.Process
	bucketDir                  string
	// relays stand between each process and the store, by the process's name; journal is what
	// came through them.
	relays  map[string]*fault.StoreRelay
	journal *fault.Journal

	busURLs, busRoutes []string
	storeAddr          string
	client             *http.Client
}

// member is one klive of a cluster.
type member struct {
	*fault.Process
	rtmp, http, admin, internal string // host:port; empty where it has none
	srt                         string // the same, over UDP
	bus                         string
}

// startCluster starts a cluster on free ports; it ends with the test.
func startCluster(t testing.TB, s shape) *cluster {
	t.Helper()
	c := newCluster(t, s)
	begin := time.Now()
	c.startStore()
	c.startBuses()
	c.startRoles()
	t.Logf("the cluster was ready after %v", time.Since(begin).Round(10*time.Millisecond))
	return c
}

func newCluster(t testing.TB, s shape) *cluster {
	t.Helper()
	c := &cluster{
		t: t, shape: s.complete(), dir: t.TempDir(), relays: map[string]*fault.StoreRelay{}, journal: &fault.Journal{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}},
	}
	t.Cleanup(c.client.CloseIdleConnections)
	c.busURLs = fault.PortsOn(t, c.shape.busHost, c.shape.buses)
	c.busRoutes = fault.PortsOn(t, c.shape.busHost, c.shape.buses)
	return c
}

// startStore starts the S3 server with an empty bucket.
func (c *cluster) startStore() {
	c.t.Helper()
	c.storeAddr = fault.Ports(c.t, 1)[0]
	root := filepath.Join(c.dir, "s3")
	c.bucketDir = filepath.Join(root, bucket)
	if err := os.MkdirAll(c.bucketDir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.store = fault.Start(c.t, fault.Spec{
		Name: "store", Path: storagetest.GatewayBinary(c.t), Args: []string{"--port", c.storeAddr, "--quiet", "posix", root},
		Env: append(environ(), "ROOT_ACCESS_KEY="+s3Key, "ROOT_SECRET_KEY="+s3Secret), Log: filepath.Join(c.dir, "store.log"),
		Ready: listening(c.storeAddr),
	})
}

func listening(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// startBuses starts all bus nodes; they need each other to be ready.
func (c *cluster) startBuses() {
	c.t.Helper()
	for i := range c.busURLs {
		c.buses = append(c.buses, c.launch(fmt.Sprintf("bus-%d", i+1), "bus"))
	}
	for _, b := range c.buses {
		b.WaitReady()
	}
}

// startRoles starts everything else: the control plane first, which the others ask.
func (c *cluster) startRoles() {
	c.t.Helper()
	c.control = c.launch("control", "control")
	c.control.WaitReady()
	for i := range c.shape.origins {
		c.origins = append(c.origins, c.launch(fmt.Sprintf("origin-%d", i+1), "origin"))
	}
	for i := range c.shape.workers {
		c.workers = append(c.workers, c.launch(fmt.Sprintf("worker-%d", i+1), "worker"))
	}
	for i := range c.shape.gateways {
		c.gateways = append(c.gateways, c.launch(fmt.Sprintf("gateway-%d", i+1), "gateway"))
	}
	for _, m := range c.roles() {
		m.WaitReady()
	}
}

// roles are all processes but the bus nodes.
func (c *cluster) roles() []*member {
	return slices.Concat([]*member{c.control}, c.origins, c.workers, c.gateways)
}

// all are all of klive's processes.
func (c *cluster) all() []*member { return slices.Concat(c.buses, c.roles()) }

// launch starts one klive without waiting for it.
func (c *cluster) launch(name, role string, args ...string) *member {
	c.t.Helper()
	m, env := c.configure(name, role)
	ready := m.admin
	path := theProgram.build(c.t)
	if c.shape.binary != nil {
		path = c.shape.binary(name)
	}
	spec := fault.Spec{
		Name: name, Path: path, Args: append([]string{role}, args...), Env: append(environ(), env...),
		Log: filepath.Join(c.dir, name+".log"),
		Ready: func(ctx context.Context) error {
			return c.ready(ctx, ready)
		},
	}
	if c.shape.in != nil {
		spec.In = c.shape.in(name)
	}
	m.Process = fault.Launch(c.t, spec)
	return m
}

// configure gives a process its addresses and settings.
func (c *cluster) configure(name, role string) (*member, []string) {
	m := &member{admin: c.adminOf(name)}
	set := map[string]string{
		"data": filepath.Join(c.dir, name), "log.level": "debug", "admin.listen": m.admin, "rtmp.listen": "", "srt.listen": "", "webrtc.listen": "", "http.listen": "", "internal.listen": "",
		"admin.token": adminToken, "bus.user": busUser, "bus.password": busPassword, "cluster.secret": "e2e-secret-of-the-cluster",
	}
	if role == "bus" {
		i := len(c.buses)
		m.bus = c.busURLs[i]
		set["bus.listen"] = m.bus
		if c.shape.buses > 1 {
			set["bus.cluster.listen"], set["bus.cluster.routes"] = c.busRoutes[i], "nats://"+strings.Join(c.busRoutes, ",nats://")
		}
	} else {
		ports := fault.Ports(c.t, 5)
		m.internal = ports[0]
		set["internal.listen"] = m.internal
		set["bus.url"] = "nats://" + strings.Join(c.busURLs, ",nats://")
		set["bus.replicas"] = fmt.Sprint(c.shape.replicas)
		set["storage.url"] = c.storageURL(name)
		set["control.secret"] = controlSecret
		if role != "control" {
			set["kaltura.url"], set["kaltura.secret"] = "http://"+c.control.admin, controlSecret
		}
		if role == "gateway" {
			m.rtmp = ports[1]
			m.srt = ports[3]
			set["rtmp.listen"], set["srt.listen"], set["webrtc.listen"] = m.rtmp, m.srt, ports[4]
		}
		if role == "gateway" || role == "origin" {
			m.http = ports[2]
			set["http.listen"] = m.http
		}
	}
	env := []string{"AWS_ACCESS_KEY_ID=" + s3Key, "AWS_SECRET_ACCESS_KEY=" + s3Secret, "AWS_EC2_METADATA_DISABLED=true"}
	if c.shape.env != nil {
		env = append(env, c.shape.env(name)...)
	}
	for _, s := range slices.Concat(c.shape.settings, c.shape.of[name]) {
		key, value, _ := strings.Cut(s, "=")
		set[key] = value
	}
	for key, value := range set {
		env = append(env, config.EnvName(key)+"="+value)
	}
	return m, env
}

func (c *cluster) adminOf(name string) string {
	if c.shape.admin != nil {
		if at := c.shape.admin(name); at != "" {
			return at
		}
	}
	return fault.Ports(c.t, 1)[0]
}

// storageURL is the bucket as one process reaches it: through a relay of its own.
func (c *cluster) storageURL(name string) string {
	at := c.storeAddr
	if !c.shape.direct {
		r := c.relays[name]
		if r == nil {
			r = fault.NewStoreRelayOn(c.t, c.shape.s3Host, name, c.storeAddr, c.journal)
			c.relays[name] = r
		}
		at = r.Addr()
	}
	return "s3://" + bucket + "/klive?region=us-east-1&pathStyle=true&endpoint=http://" + at
}

func (c *cluster) ready(ctx context.Context, admin string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", resp.Status)
	}
	return nil
}

// trouble does something to the store as all processes see it.
func (c *cluster) trouble(t fault.Trouble) {
	for _, r := range c.relays {
		r.Set(t)
	}
}

// owner is the worker that wrote an entry's timeline last; nil before the first.
func (c *cluster) owner(entry string) *member {
	heads := c.heads(entry)
	if len(heads) == 0 {
		return nil
	}
	name := heads[len(heads)-1].From
	i := slices.IndexFunc(c.workers, func(m *member) bool { return m.Name == name })
	if i < 0 {
		c.t.Fatalf("%s wrote a timeline", name)
	}
	return c.workers[i]
}

// heads are the versions of an entry's timeline that the store took.
func (c *cluster) heads(entry string) []fault.Write {
	return c.journal.Writes(func(w *fault.Write) bool {
		return w.Method == http.MethodPut && w.Done() && strings.HasSuffix(w.Path, "state/"+entry+"/head.json")
	})
}

// playlist is the address of an entry's multivariant playlist at an origin.
func (m *member) playlist(entry string, dvr bool) string {
	return "http://" + m.http + playlistPath(entry, dvr)
}

func playlistPath(entry string, dvr bool) string {
	name := "playlist.m3u8"
	if dvr {
		name = "playlist-dvr.m3u8"
	}
	return "/kLive/smil:" + entry + "_all.smil/" + name
}

// ingest is an entry's address at a gateway.
func (m *member) ingest(e entry, index int) string {
	return fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=%d&t=%s/%s_1", m.rtmp, e.ID, index, e.Token, e.ID)
}

// demo is the entry that the control plane begins with.
var demo = entry{ID: "0_demolive", Token: "demo1234"}

// watch starts a viewer at each origin.
func (c *cluster) watch(e entry) []*check.Viewer {
	c.t.Helper()
	var out []*check.Viewer
	for _, o := range c.origins {
		v, err := check.Watch(o.Name, o.playlist(e.ID, false))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(v.Stop)
		out = append(out, v)
	}
	return out
}
