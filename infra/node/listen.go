package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"syscall"

	"klive/infra/admin"
	"klive/infra/config"
)

// ListenFunc opens the listener of one configuration key.
type ListenFunc func(ctx context.Context, key, address string) (net.Listener, error)

// ListenTCP opens a TCP listener. A port that is taken is reported with the key that
// changes it.
func ListenTCP(ctx context.Context, key, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, explainListen(err, key, address)
	}
	return l, nil
}

// explainListen says what to do about a listener that can't be opened.
func explainListen(err error, key, address string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s is in use by another program: stop it, or set %s (%s) to another address", portOf(address), key, config.EnvName(key))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on %s: set %s (%s) to a port from 1024 up, or grant the right", address, key, config.EnvName(key))
	}
	return fmt.Errorf("can't listen on %s (key %s): %w", address, key, err)
}

func portOf(address string) string {
	if _, port, err := net.SplitHostPort(address); err == nil {
		return port
	}
	return address
}

// listeners are the sockets of one node; nil where a listener is off.
type listeners struct {
	rtmp, rtmps, http, https, admin, internal net.Listener
}

// openListeners opens all listeners of the roles or none, before anything else starts.
func openListeners(ctx context.Context, listen ListenFunc, r Roles, c *config.Config) (ls listeners, err error) {
	for _, o := range []struct {
		key, address string
		wanted       bool
		into         *net.Listener
	}{
		{"rtmp.listen", c.RTMP.Listen, r.Has(Gateway), &ls.rtmp},
		{"rtmps.listen", c.RTMPS.Listen, r.Has(Gateway), &ls.rtmps},
		{"http.listen", c.HTTP.Listen, r.Has(Gateway | Origin), &ls.http},
		{"https.listen", c.HTTPS.Listen, r.Has(Gateway | Origin), &ls.https},
		{"admin.listen", c.Admin.Listen, true, &ls.admin},
		// Gateways hold what others may ask them for. A node with a bus of its own has no others.
		{"internal.listen", c.Internal.Listen, r.Has(Gateway) && cluster(c), &ls.internal},
	} {
		if o.address == "" || !o.wanted {
			continue
		}
		if *o.into, err = listen(ctx, o.key, o.address); err != nil {
			ls.close()
			return listeners{}, err
		}
	}
	return ls, nil
}

func (ls listeners) close() {
	for _, l := range ls.byKey() {
		l.Close()
	}
}

// byKey are those that are on.
func (ls listeners) byKey() map[string]net.Listener {
	all := map[string]net.Listener{
		"rtmp.listen": ls.rtmp, "rtmps.listen": ls.rtmps, "http.listen": ls.http,
		"https.listen": ls.https, "admin.listen": ls.admin, "internal.listen": ls.internal,
	}
	maps.DeleteFunc(all, func(_ string, l net.Listener) bool { return l == nil })
	return all
}

// holds tells operators what this process holds of its host.
func (n *Node) holds() admin.Process {
	p := admin.Process{Listeners: map[string]string{}}
	for key, l := range n.listeners.byKey() {
		p.Listeners[key] = l.Addr().String()
	}
	if n.assembled.Load() {
		if n.srt != nil {
			var all []string
			for _, a := range n.srt.Addrs() {
				all = append(all, a.String())
			}
			p.Listeners["srt.listen"] = strings.Join(all, ",")
		}
		if n.whip != nil {
			p.Listeners["webrtc.listen"] = n.webrtc.udp.LocalAddr().String()
		}
		p.Store, _ = n.settings.StorageURL() // which the start has seen to be one
	}
	return p
}
