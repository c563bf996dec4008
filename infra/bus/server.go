package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	defaultClientPort  = 4222
	defaultClusterPort = 6222

	// routePing and serverPing are how dead nodes and dead clients are noticed that
	// send no reset, after three times as long.
	routePing  = 2 * time.Second
	serverPing = 20 * time.Second
	// lameGrace is what clients get to leave in once the leaders are elsewhere;
	// lameDrain bounds how long they are then sent away one by one.
	lameGrace = 300 * time.Millisecond
	lameDrain = 1300 * time.Millisecond

	// routeReports is how many attempts to reach another node pass between two lines about it; one
	// is made each second.
	routeReports = 60

	loginTimeout = 5 // seconds
)

// ServerConfig is what [StartServer] needs.
type ServerConfig struct {
	// Name is the node's own among those of its cluster, and stays the same over
	// restarts: by it the others know its data.
	Name string
	// Dir is the folder for what must survive a restart. It is made if need be and
	// belongs to one process at a time.
	Dir string
	// Listen is where clients connect, host:port.
	Listen string
	// ClusterName, ClusterListen and Routes join nodes; an empty ClusterListen means
	// a node alone. Routes are the nodes' cluster addresses, nats://host:6222 and
	// comma-separated; this node may be among them.
	ClusterName, ClusterListen, Routes string
	// User and Password are asked of clients and of the other nodes. Empty lets
	// everybody in.
	User, Password string
	// TLS encrypts both kinds of connections when Cert and Key are named. The CA is
	// what the other nodes' certificates are checked with. Nobody is asked for a
	// client certificate: the password is what lets in.
	TLS TLSFiles
	// MaxMemory and MaxStore bound what all buckets, logs and media streams may take
	// in memory and on disk, in bytes; 0 means 512 MiB and 4 GiB.
	MaxMemory, MaxStore int64
	// Descriptors is how many files and sockets this process may have open; 0 is not known. The node
	// takes no more clients than leave enough of them to its own files and to the other nodes.
	Descriptors int
	// Logger takes the node's warnings and errors; nil drops them.
	Logger *slog.Logger
}

// nodeFiles is how many descriptors a node wants for itself: files of buckets, logs and elections,
// a handful of connections to each other node, and operators. A node that can't open a file
// stores nothing more until it is started anew.
const nodeFiles = 512

// EnoughDescriptors is how many a node should have: as many for clients as for itself.
const EnoughDescriptors = 2 * nodeFiles

// clientRoom is how many clients a node takes that may have so many descriptors; 0, which leaves it to
// the server library, when that is not known.
func clientRoom(descriptors int) int {
	if descriptors <= 0 {
		return 0
	}
	return max(1, descriptors-min(nodeFiles, descriptors/2))
}

// Server is a NATS JetStream node that listens, alone or in a cluster.
type Server struct {
	server  *server.Server
	cluster bool
	room    int        // for clients; 0 is not known
	routes  []*url.URL // to the other nodes
	log     *slog.Logger
	said    *nodeLogger
	gate    *gate    // of a cluster's node
	control *Control // from within
	release func()   // gives the folder back
	close   sync.Once

	// mu guards the fields below, which watchMissing keeps.
	mu      sync.Mutex
	count   int       // nodes that are connected,
	counted time.Time // since then;
	told    bool      // lacks has been looked up since then
	lacks   []string
}

// StartServer starts a node. It listens when StartServer returns; in a cluster it
// serves once most of the nodes have found each other, see [Server.Healthy].
func StartServer(ctx context.Context, c ServerConfig) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dir == "" || c.Name == "" {
		return nil, fmt.Errorf("%w: a bus node needs a name and a data folder", ErrInvalid)
	}
	options, err := c.options(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{cluster: c.ClusterListen != "", room: options.MaxConn, log: c.Logger}
	if s.cluster {
		s.routes = others(ctx, options.Routes, options.Cluster.Host, options.Cluster.Port)
		if len(s.routes) == len(options.Routes) {
			c.Logger.Warn("bus: bus.cluster.routes does not name this node, or not so that it knows itself: name all nodes there, with the same list on each",
				"bus.cluster.routes", len(options.Routes), "bus.cluster.listen", c.ClusterListen)
		}
	}
	if options.StoreDir, s.release, err = takeDir(c.Dir); err != nil {
		return nil, err
	}
	if s.cluster {
		s.gate = newGate(c.User, c.Password)
		s.gate.account = func() *server.Account { return s.server.SystemAccount() }
		options.CustomClientAuthentication = s.gate
	}
	s.said = &nodeLogger{log: c.Logger}
	if s.server, err = launch(ctx, options, s.said); err != nil {
		s.stop()
		return nil, err
	}
	if s.control, err = s.connect(ctx, &c); err == nil && s.cluster {
		err = s.startTending()
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	if c.User == "" && !loopback(options.Host) {
		c.Logger.Warn("bus: this node lets everybody in who reaches it: set bus.user and bus.password, on the other nodes and on all who connect too",
			"bus.listen", c.Listen)
	}
	return s, nil
}

// options turns the settings into the server library's and checks them.
func (c *ServerConfig) options(ctx context.Context) (*server.Options, error) {
	if (c.User == "") != (c.Password == "") {
		return nil, fmt.Errorf("%w: bus.user and bus.password belong together: set both or none", ErrInvalid)
	}
	host, port, err := listenAddress("bus.listen", c.Listen, defaultClientPort)
	if err != nil {
		return nil, err
	}
	o := nodeOptions(c.Name, NodeConfig{Dir: c.Dir, MemoryLimit: c.MaxMemory, StoreLimit: c.MaxStore}.withDefaults())
	o.Host, o.Port = host, port
	o.Username, o.Password = c.User, c.Password
	o.MaxConn = clientRoom(c.Descriptors)
	o.AuthTimeout, o.TLSTimeout = loginTimeout, loginTimeout
	o.PingInterval = serverPing
	o.LameDuckGracePeriod, o.LameDuckDuration = lameGrace, lameDrain
	o.ConnectErrorReports, o.ReconnectErrorReports = routeReports, routeReports
	if c.TLS != (TLSFiles{}) {
		if o.TLSConfig, err = c.TLS.server(); err != nil {
			return nil, err
		}
	}
	if c.ClusterListen == "" {
		return o, nil
	}
	return o, c.join(ctx, o)
}

// join adds what makes the node one of a cluster.
func (c *ServerConfig) join(ctx context.Context, o *server.Options) error {
	host, port, err := listenAddress("bus.cluster.listen", c.ClusterListen, defaultClusterPort)
	if err != nil {
		return err
	}
	if c.ClusterName == "" {
		return fmt.Errorf("%w: a cluster needs a name, the same on each node: set bus.cluster.name", ErrInvalid)
	}
	o.Cluster = server.ClusterOpts{
		Name: c.ClusterName, Host: host, Port: port, Username: c.User, Password: c.Password,
		AuthTimeout: loginTimeout, TLSTimeout: loginTimeout, PingInterval: routePing, MaxPingsOut: maxPings,
	}
	if c.TLS != (TLSFiles{}) {
		if o.Cluster.TLSConfig, err = c.TLS.server(); err != nil {
			return err
		}
	}
	routes, err := c.parseRoutes()
	if err != nil {
		return err
	}
	// The server library takes the number of routes for the number of nodes. That all are named,
	// this one among them, keeps nodes that have lost their folders from beginning anew among
	// themselves: who has nothing votes for nobody unless all are heard.
	o.Routes = routes
	return nil
}

// server is the TLS side of a node, towards clients and other nodes.
func (t TLSFiles) server() (*tls.Config, error) {
	if t.Cert == "" && t.Key == "" {
		return nil, fmt.Errorf("%w: a bus node that encrypts needs a certificate: set bus.tls.cert and bus.tls.key", ErrInvalid)
	}
	if _, err := t.certificate(); err != nil {
		return nil, err
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots, // for the routes that this node opens
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := t.certificate() // read again, for it may have been renewed
			return &cert, err
		},
	}, nil
}

// listenAddress splits an address and makes sure that it is free: the server
// library would only log that it is not.
func listenAddress(key, address string, usual int) (host string, port int, err error) {
	if address == "" {
		address = fmt.Sprintf(":%d", usual)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", 0, fmt.Errorf("bus: cannot listen on %s: %w: choose another address (key %s) or end what uses it", address, err, key)
	}
	host, _, err = net.SplitHostPort(address)
	port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", 0, fmt.Errorf("bus: %s: %w", key, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Addr is where clients connect.
func (s *Server) Addr() net.Addr { return s.server.Addr() }

// ClusterAddr is where other nodes connect; nil for a node alone.
func (s *Server) ClusterAddr() net.Addr {
	if a := s.server.ClusterAddr(); a != nil {
		return a
	}
	return nil
}

// Name is the node's name.
func (s *Server) Name() string { return s.server.Name() }

// Control is this process's connection to the node. It ends with the node.
func (s *Server) Control() *Control { return s.control }

// Healthy says why the node does not serve, nil if it does: in a cluster most of
// the nodes must have found each other, and this one must have what they have.
func (s *Server) Healthy() error {
	if err := s.Broken(); err != nil {
		return err // which NATS may have switched JetStream off for, and which it recovers from
	}
	if !s.server.JetStreamEnabled() {
		return fmt.Errorf("%w: the node stopped storing: free disk space or check the disk, then restart", ErrFull)
	}
	if st := s.server.Healthz(&server.HealthzOptions{JSMetaOnly: true}); st.Error != "" {
		return fmt.Errorf("%w: %s%s", ErrUnavailable, st.Error, s.advice())
	}
	return nil
}

// Broken is as [Node.Broken].
func (s *Server) Broken() error { return s.said.broken() }

// ServerStats is the state of a node.
type ServerStats struct {
	Name string `json:"name"`
	// Clients counts the connections of others, MaxClients how many there may be; 0 is not known.
	Clients    int `json:"clients"`
	MaxClients int `json:"maxClients,omitempty"`
	// Peers are the names of the other nodes that it is connected to.
	Peers []string `json:"peers,omitempty"`
	// Others counts the other nodes in bus.cluster.routes.
	Others int `json:"others,omitempty"`
	// Memory and Store are the bytes in use, MaxMemory and MaxStore their bounds.
	Memory    uint64 `json:"memory"`
	MaxMemory int64  `json:"maxMemory"`
	Store     uint64 `json:"store"`
	MaxStore  int64  `json:"maxStore"`
}

// Stats tells the node's state.
func (s *Server) Stats() (ServerStats, error) {
	info, err := s.server.Jsz(nil)
	if err != nil {
		return ServerStats{}, fmt.Errorf("bus: state of the node: %w", err)
	}
	routes, err := s.server.Routez(nil)
	if err != nil {
		return ServerStats{}, fmt.Errorf("bus: routes of the node: %w", err)
	}
	var peers []string
	for _, r := range routes.Routes { // several for each node
		peers = append(peers, r.RemoteName)
	}
	slices.Sort(peers)
	return ServerStats{
		Name: s.server.Name(), Clients: s.server.NumClients() - 1, MaxClients: max(0, s.room-1), Others: len(s.routes), Peers: slices.Compact(peers),
		Memory: info.Memory, MaxMemory: info.Config.MaxMemory, Store: info.Store, MaxStore: info.Config.MaxStore,
	}, nil
}

// Close hands the node's leaderships to others, asks its clients to connect
// elsewhere, ends it and waits until everything is on disk: about two seconds in a
// cluster, at once when it is alone.
func (s *Server) Close() {
	s.close.Do(func() {
		if s.cluster {
			s.control.Close()
			s.server.LameDuckShutdown()
		}
		s.stop()
	})
}

func (s *Server) stop() {
	if s.control != nil {
		s.control.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	if s.release != nil {
		s.release()
	}
}
