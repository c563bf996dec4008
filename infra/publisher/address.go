package publisher

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// ErrAddress is returned for an address that names no RTMP server, application and stream.
var ErrAddress = errors.New("an address looks like rtmp://host[:port]/kLive/?p=102&e=0_rkij47dr&i=0&t=token/0_rkij47dr_1")

// address is where and as what to publish.
type address struct {
	secure bool
	host   string // with port
	server string // host name for TLS
	app    string // connect's app: everything behind the host, without the stream name
	tcURL  string
	name   string // publish's stream name
}

// parseAddress splits an address as encoders do. With a name given apart (a server and a
// key, as in OBS) all of the address is the server's; else the name is what follows the
// last slash. The query is neither decoded nor checked: that is the server's business.
func parseAddress(raw, name string) (address, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "rtmp" && scheme != "rtmps" {
		return address{}, fmt.Errorf("%q: %w", hideQuery(raw), ErrAddress)
	}
	a := address{secure: scheme == "rtmps", name: name}
	hostport, path, _ := strings.Cut(rest, "/")
	if name == "" {
		i := strings.LastIndexByte(path, '/')
		if i < 0 || i == len(path)-1 {
			return address{}, fmt.Errorf("%q has no stream name: %w", hideQuery(raw), ErrAddress)
		}
		path, a.name = path[:i], path[i+1:]
	}
	u, err := url.Parse("//" + hostport)
	if err != nil || u.Hostname() == "" {
		return address{}, fmt.Errorf("%q has no host: %w", hideQuery(raw), ErrAddress)
	}
	a.server = u.Hostname()
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "1935", true: "443"}[a.secure]
	}
	a.host = net.JoinHostPort(a.server, port)
	a.app = path
	a.tcURL = scheme + "://" + hostport + "/" + path
	return a, nil
}

// hideQuery cuts an address at its query, which holds the token.
func hideQuery(raw string) string {
	if i := strings.IndexByte(raw, '?'); i >= 0 {
		return raw[:i] + "?…"
	}
	return raw
}
