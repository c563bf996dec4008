package srt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	srt "github.com/datarhei/gosrt"

	"klive/gateway"
)

// ErrClosed is returned by Serve after Close.
var ErrClosed = errors.New("srt: server closed")

// Server takes SRT publishers on its listeners.
type Server struct {
	cfg       Config
	metrics   *metrics
	listeners []srt.Listener
	told      gateway.Refusals // and handshakes that were dropped

	ctx  context.Context // of every caller
	stop context.CancelFunc
	// running is Serve and every caller.
	running sync.WaitGroup

	// mu guards the fields below.
	mu     sync.Mutex
	count  int
	closed bool
}

// Listen opens the listeners. The server is to be closed, served or not.
func Listen(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Registerer), ctx: ctx, stop: stop}
	for _, address := range cfg.Addresses {
		l, err := s.listen(address)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func (s *Server) listen(address string) (srt.Listener, error) {
	cfg := &s.cfg
	c := srt.DefaultConfig()
	c.Logger = &handshakes{server: s, listen: address}
	c.ReceiverLatency, c.PeerLatency = cfg.Latency, cfg.Latency
	c.PeerIdleTimeout = cfg.Peer
	c.ListenerControl = func(_, _ string, raw syscall.RawConn) error { return tuneSocket(raw, cfg.Buffer) }
	numeric, err := resolve(address)
	if err != nil {
		return nil, err
	}
	l, err := srt.Listen("srt", numeric, c)
	if err != nil {
		return nil, fmt.Errorf("SRT on %s: %w", address, err)
	}
	return l, nil
}

// resolve turns a host name into an address: the library takes numbers only.
func resolve(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" || net.ParseIP(host) != nil {
		return address, err
	}
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return "", fmt.Errorf("SRT on %s: %w", address, err)
	}
	return a.String(), nil
}

// Addrs are the addresses of the listeners.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Serve takes callers until ctx ends or Close is called, then ends every one and waits for
// them. It returns ctx's error, ErrClosed, or why a listener failed.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.running.Add(1)
	s.mu.Unlock()
	unhook := context.AfterFunc(ctx, s.shut)
	defer unhook()
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { failed <- s.accept(l) }()
	}
	var err error
	for range s.listeners {
		if one := <-failed; one != nil && err == nil {
			err = one
			s.shut()
		}
	}
	s.running.Done()
	s.running.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	return ErrClosed
}

// Close ends every caller and waits for them. It may be called more than once, and before or
// after the end of Serve.
func (s *Server) Close() error {
	s.shut()
	s.running.Wait()
	return nil
}

func (s *Server) shut() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	for _, l := range s.listeners {
		l.Close()
	}
}

// accept takes requests from one listener; nil when the server was closed.
func (s *Server) accept(l srt.Listener) error {
	for {
		req, err := s.request(l)
		switch {
		case s.ctx.Err() != nil:
			return nil
		case errors.Is(err, errMalformed):
			continue
		case err != nil:
			return fmt.Errorf("SRT on %v: %w", l.Addr(), err)
		}
		s.take(req)
	}
}

// errMalformed is returned for a request that the library could not read.
var errMalformed = errors.New("srt: malformed handshake")

// request waits for the next request. The library panics on some malformed handshakes.
func (s *Server) request(l srt.Listener) (req srt.ConnRequest, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Inc()
			s.cfg.Logger.Debug("malformed SRT handshake", "listener", l.Addr(), "panic", p)
			req, err = nil, errMalformed
		}
	}()
	return l.Accept2()
}

// take decides on a request in a goroutine of its own, or refuses it when there are too many.
func (s *Server) take(req srt.ConnRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.count >= s.cfg.MaxConnections {
		req.Reject(srt.REJX_OVERLOAD)
		s.metrics.refused.WithLabelValues(reasonConnections).Inc()
		level, repeats := s.told.Loudness(reasonConnections, req.RemoteAddr().String(), reasonConnections)
		s.cfg.Logger.Log(s.ctx, level, "SRT caller refused", append([]any{"peer", req.RemoteAddr(), "reason", reasonConnections, "connections", s.count}, repeats...)...)
		return
	}
	s.count++
	s.metrics.connections.Inc()
	s.running.Go(func() {
		s.guard(req)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count--
		s.metrics.connections.Dec()
	})
}

// guard serves a caller and catches faults: one costs one connection.
func (s *Server) guard(req srt.ConnRequest) {
	c := &caller{server: s, req: req, peer: req.RemoteAddr().String()}
	c.log = s.cfg.Logger.With("peer", c.peer)
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Inc()
			c.log.Error("fault while serving an SRT caller", "panic", p, "stack", string(debug.Stack()))
			req.Reject(srt.REJX_ISE) // does nothing for one that was let in
			c.abandon()
		}
	}()
	c.serve()
}

// statsEvery is how often a connection's figures are read.
const statsEvery = time.Second
