package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

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
	for _, l := range []net.Listener{ls.rtmp, ls.rtmps, ls.http, ls.https, ls.admin, ls.internal} {
		if l != nil {
			l.Close()
		}
	}
}
