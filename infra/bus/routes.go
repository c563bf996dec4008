package bus

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// resolveTime bounds the look-ups of the names in bus.cluster.routes.
const resolveTime = 2 * time.Second

// parseRoutes reads bus.cluster.routes.
func (c *ServerConfig) parseRoutes() (routes []*url.URL, err error) {
	for text := range strings.SplitSeq(c.Routes, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("%w: bus.cluster.routes: %q: want addresses like nats://bus-2:6222, with commas between them", ErrInvalid, text)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(defaultClusterPort))
		}
		if u.User == nil && c.User != "" {
			u.User = url.UserPassword(c.User, c.Password)
		}
		routes = append(routes, u)
	}
	return routes, nil
}

// others leaves out the route to this node itself.
func others(ctx context.Context, routes []*url.URL, listen string, port int) []*url.URL {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	me := thisHost(listen)
	var out []*url.URL
	for _, u := range routes {
		if u.Port() != strconv.Itoa(port) || !me.is(ctx, u.Hostname()) {
			out = append(out, u)
		}
	}
	return out
}

// PlaceName is a name for the node that does not depend on its folder: host and port of its own
// cluster address in bus.cluster.routes, or of this host where the routes do not tell which one
// that is.
func (c ServerConfig) PlaceName(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	listen, port, err := net.SplitHostPort(c.ClusterListen)
	if err != nil {
		listen, port = "", fmt.Sprint(defaultClusterPort)
	}
	me := thisHost(listen)
	var own []string
	if routes, err := c.parseRoutes(); err == nil && len(routes) > 1 { // one alone may be everybody's
		for _, u := range routes {
			if u.Port() == port && me.is(ctx, u.Hostname()) {
				own = append(own, u.Hostname())
			}
		}
	}
	host := me.host
	if len(own) == 1 {
		host = own[0]
	}
	return placeName(host, port)
}

func placeName(host, port string) string {
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '%' { // of IPv6 addresses
			return '_'
		}
		return r
	}, host+"-"+port)
}

// self is what this host is called.
type self struct {
	host   string
	listen net.IP // nil when it is a name
	ips    []net.IP
}

func thisHost(listen string) *self {
	me := &self{listen: net.ParseIP(listen)}
	me.host, _ = os.Hostname()
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			me.ips = append(me.ips, n.IP)
		}
	}
	return me
}

// is reports whether a host in a route is this one.
func (s *self) is(ctx context.Context, host string) bool {
	if strings.EqualFold(host, s.host) {
		return true
	}
	ips, err := resolve(ctx, host)
	if err != nil { // names that nobody knows yet: of a pod that starts, for example
		first, _, _ := strings.Cut(host, ".")
		return strings.EqualFold(first, s.host)
	}
	for _, ip := range ips {
		if s.listens(ip) {
			return true
		}
	}
	return false
}

// listens reports whether this node's cluster listener is what answers at an IP.
func (s *self) listens(ip net.IP) bool {
	if s.listen != nil && !s.listen.IsUnspecified() {
		return ip.Equal(s.listen)
	}
	if ip.IsLoopback() {
		return true
	}
	for _, own := range s.ips {
		if ip.Equal(own) {
			return true
		}
	}
	return false
}

// resolve looks a host up, which may be an IP already.
func resolve(ctx context.Context, host string) (ips []net.IP, err error) {
	list, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, a := range list {
		ips = append(ips, a.IP)
	}
	return ips, err
}

// missing names the configured routes behind which no node is connected. Nodes that share an
// address are told apart only when this one opened the connection.
func (s *Server) missing() (list []string) {
	info, err := s.server.Routez(nil)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	connected := map[string]*server.RouteInfo{} // by node: several connections lead to each
	for _, r := range info.Routes {
		if old := connected[r.RemoteID]; old == nil || r.DidSolicit {
			connected[r.RemoteID] = r
		}
	}
	take := func(fits func(*server.RouteInfo) bool) bool {
		for id, r := range connected {
			if fits(r) {
				delete(connected, id)
				return true
			}
		}
		return false
	}
	hosts := map[*url.URL][]net.IP{}
	var left []*url.URL
	for _, u := range s.routes {
		if take(func(r *server.RouteInfo) bool { return r.RemoteName == placeName(u.Hostname(), u.Port()) }) {
			continue
		}
		hosts[u], _ = resolve(ctx, u.Hostname())
		if !take(func(r *server.RouteInfo) bool {
			return r.DidSolicit && strconv.Itoa(r.Port) == u.Port() && contains(hosts[u], r.IP)
		}) {
			left = append(left, u)
		}
	}
	for _, u := range left {
		if !take(func(r *server.RouteInfo) bool { return !r.DidSolicit && contains(hosts[u], r.IP) }) {
			list = append(list, u.Host)
		}
	}
	return list
}

func contains(ips []net.IP, text string) bool {
	ip := net.ParseIP(text)
	for _, i := range ips {
		if i.Equal(ip) {
			return true
		}
	}
	return false
}

// advice says what a node waits for that does not serve.
func (s *Server) advice() string {
	if !s.cluster {
		return ""
	}
	missing := s.missing()
	if len(missing) == 0 {
		return ": all nodes in bus.cluster.routes are connected to this one, and agree in a moment"
	}
	return fmt.Sprintf(": not connected: %s (%d of the %d other nodes in bus.cluster.routes): most of the nodes have to be up, and all of them when a cluster begins, with the same bus.cluster.name, bus.user and bus.password",
		strings.Join(missing, ", "), len(missing), len(s.routes))
}
