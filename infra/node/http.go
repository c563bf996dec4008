package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"klive/gateway"
	"klive/gateway/push"
	"klive/gateway/whip"
	"klive/infra/admin"
)

// Bounds of the HTTP listeners. A player's request is small. A player that takes two minutes
// for a segment has no use for it any more.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	answerTimeout  = 2 * time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeader      = 64 << 10
	httpDrain      = 3 * time.Second
)

// startHTTP serves the public listener, plain and encrypted, and the admin listener. Until
// the node's parts are there they tell of health and readiness alone.
func (n *Node) startHTTP(ctx context.Context) error {
	if n.listeners.https != nil || n.listeners.rtmps != nil {
		var err error
		if n.certificate, err = openCertificate(n.settings, n.log); err != nil {
			return fmt.Errorf("%w (keys tls.cert, tls.key, tls.selfSigned)", err)
		}
	}
	public := n.publicHandler()
	if l := n.listeners.http; l != nil {
		n.servers = append(n.servers, n.serve("http.listen", l, public, requestTimeout, answerTimeout))
	}
	if l := n.listeners.https; l != nil {
		c := n.tlsConfig()
		c.NextProtos = []string{"h2", "http/1.1"}
		n.servers = append(n.servers, n.serve("https.listen", tls.NewListener(l, c), public, requestTimeout, answerTimeout))
	}
	if l := n.listeners.admin; l != nil {
		h, err := n.adminHandler()
		if err != nil {
			return err
		}
		// Profiles take as long as they were asked to.
		n.servers = append(n.servers, n.serve("admin.listen", l, h, requestTimeout, 0))
	}
	return n.closeHTTPHere(ctx) // for a start that fails
}

// closeHTTPHere ends the HTTP servers before the parts that were started so far.
func (n *Node) closeHTTPHere(context.Context) error {
	n.onClose(func(ctx context.Context) {
		for _, s := range n.servers {
			shutdown(ctx, s)
		}
	})
	return nil
}

// shutdown ends a server, with a moment for the requests that are under way.
func shutdown(ctx context.Context, s *http.Server) {
	drain, cancel := context.WithTimeout(ctx, httpDrain)
	defer cancel()
	if s.Shutdown(drain) != nil {
		s.Close()
	}
}

// publicHandler answers players and load balancers.
func (n *Node) publicHandler() http.Handler {
	mux := http.NewServeMux()
	if n.roles.Has(Origin) {
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			if !n.assembled.Load() {
				answerHealth(w, n.Ready(r.Context()))
				return
			}
			n.origin.ServeHTTP(w, r)
		})
	}
	if n.roles.Has(Gateway) && n.settings.Push.Enabled {
		mux.HandleFunc(push.Prefix, n.servePush)
	}
	if n.takesWHIP() {
		mux.HandleFunc(whip.Endpoint, n.serveWHIP)
		mux.HandleFunc(whip.Prefix, n.serveWHIP)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, nil) })
	mux.HandleFunc("GET /readyz", n.serveReadiness)
	return proxied(n.settings.HTTP.Proxies(), mux)
}

// servePush answers encoders that publish over HTTP.
func (n *Node) servePush(w http.ResponseWriter, r *http.Request) {
	if !n.assembled.Load() {
		w.Header().Set("Retry-After", "2")
		gateway.Problem(w, http.StatusServiceUnavailable, errEarly.Error())
		return
	}
	n.push.ServeHTTP(w, r)
}

// serveReadiness answers load balancers.
func (n *Node) serveReadiness(w http.ResponseWriter, _ *http.Request) {
	err := n.able()
	if full := n.full(); err == nil && full != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(full.Error() + "\n"))
		return
	}
	answerHealth(w, err)
}

func answerHealth(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready: " + err.Error() + "\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// adminHandler answers operators, and Kaltura's API when the control plane is embedded.
func (n *Node) adminHandler() (http.Handler, error) {
	c := admin.Config{
		Log: n.log, Version: n.cfg.Version, Token: n.settings.Admin.Token.Reveal(),
		Places: n.places(), Process: n.holds,
		Streams: streams{n}, Cluster: overview{n}, Feeds: http.HandlerFunc(n.serveFeeds), Metrics: n.cfg.Registry, Ready: func(context.Context) error { return n.able() }, Full: n.full,
		Recordings: recordingList{n}, Pins: pins{n}, Usage: streams{n}, Drain: n,
	}
	if n.embedded() {
		c.ControlPlane = http.HandlerFunc(n.serveControlPlane)
		if n.cfg.Observe != nil {
			c.ControlPlane = n.cfg.Observe(c.ControlPlane)
		}
		c.Entries = entries{n}
		c.VOD = http.HandlerFunc(n.serveVOD)
	}
	return admin.New(c)
}

// serveControlPlane answers Kaltura's API. A node's own client is the first to ask.
func (n *Node) serveControlPlane(w http.ResponseWriter, r *http.Request) {
	plane := n.planeNow.Load()
	if plane == nil {
		answerHealth(w, n.Ready(r.Context()))
		return
	}
	plane.ServeHTTP(w, r)
}

// publicURL is what the console cannot tell from the plain listener and its own address.
func (n *Node) publicURL() string {
	if n.settings.HTTP.Listen == "" {
		return playback(n.settings)
	}
	return n.settings.HTTP.PublicURL
}

// serve answers one listener until the server is shut down. Timeouts of 0 are none.
func (n *Node) serve(key string, l net.Listener, h http.Handler, read, write time.Duration) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       read,
		WriteTimeout:      write,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	n.run(key, func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return s
}
