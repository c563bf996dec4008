package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"klive/gateway"
)

// ErrClosed is returned by Serve after Close.
var ErrClosed = errors.New("rtmp: server closed")

// Server takes publishers on its listeners.
type Server struct {
	cfg     Config
	metrics *metrics
	engines *engines
	told    gateway.Refusals

	// stop ends the context of every connection.
	ctx  context.Context
	stop context.CancelFunc
	// draining asks encoders to go.
	draining *atomic.Bool
	// running is Serve and every connection.
	running sync.WaitGroup

	// mu guards the fields below.
	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

// NewServer checks the configuration and returns a server that is ready to serve. It owns
// the listeners from then on.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.MinVersion = max(cfg.TLS.MinVersion, tls.VersionTLS12)
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg, metrics: newMetrics(cfg.Registerer), engines: newEngines(),
		ctx: ctx, stop: stop, draining: &atomic.Bool{}, conns: map[*conn]struct{}{},
	}, nil
}

// Serve takes connections until ctx ends or Close is called, then ends every connection in
// order and waits for them. It returns ctx's error, or ErrClosed.
func (s *Server) Serve(ctx context.Context) error {
	if !s.enter() {
		return ErrClosed
	}
	unhook := context.AfterFunc(ctx, s.shut)
	defer unhook()
	var accepting sync.WaitGroup
	for protocol, l := range map[string]net.Listener{"rtmp": s.cfg.Listener, "rtmps": s.cfg.TLSListener} {
		if l != nil {
			accepting.Go(func() { s.accept(l, protocol) })
		}
	}
	accepting.Wait()
	s.running.Done()
	s.running.Wait()
	s.engines.close()
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// enter registers Serve with running, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// Drain asks every encoder that can to connect elsewhere (Enhanced RTMP). Others go on;
// new connections are taken as before.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return
	}
	for c := range s.conns {
		c.net.wake()
	}
}

// Undrain asks nobody any more. Who was asked may go all the same.
func (s *Server) Undrain() { s.draining.Store(false) }

// Close ends every connection in order, telling its encoder so, and waits for them. It may
// be called more than once, and before or after the end of Serve.
func (s *Server) Close() error {
	s.shut()
	s.running.Wait()
	s.engines.close()
	return nil
}

// shut closes the listeners and sets every connection to end.
func (s *Server) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, l := range []net.Listener{s.cfg.Listener, s.cfg.TLSListener} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.cfg.Logger.Warn("closing an RTMP listener failed", "address", l.Addr(), "error", err)
			}
		}
	}
	s.stop()
	for c := range s.conns {
		c.net.wake()
	}
}

// Pauses after an accept that failed for want of something, such as file descriptors.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// accept takes connections from one listener.
func (s *Server) accept(l net.Listener, protocol string) {
	pause := firstPause
	for {
		raw, err := l.Accept()
		if err == nil {
			pause = firstPause
			s.take(raw, protocol)
			continue
		}
		if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		s.cfg.Logger.Warn("accepting an RTMP connection failed", "address", l.Addr(), "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		case <-s.ctx.Done():
			return
		}
	}
}

// take serves a connection in a goroutine of its own, or closes it when there are too many.
func (s *Server) take(raw net.Conn, protocol string) {
	c := s.newConn(raw, protocol)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.cfg.Limits.MaxConnections {
		raw.Close()
		c.cancel()
		if !s.closed {
			s.metrics.refused.WithLabelValues(reasonConnections).Inc()
			level, repeats := s.told.Loudness(reasonConnections, c.peer, reasonConnections)
			s.cfg.Logger.Log(s.ctx, level, "RTMP connection refused", append([]any{"peer", c.peer, "reason", reasonConnections, "connections", len(s.conns)}, repeats...)...)
		}
		return
	}
	s.conns[c] = struct{}{}
	s.metrics.accepted.WithLabelValues(protocol).Inc()
	s.metrics.connections.Inc()
	s.running.Go(func() {
		c.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.metrics.connections.Dec()
	})
}

func (s *Server) newConn(raw net.Conn, protocol string) *conn {
	peer := raw.RemoteAddr().String()
	if protocol == "rtmps" {
		raw = tls.Server(raw, s.cfg.TLS)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	c := &conn{
		cfg: &s.cfg, metrics: s.metrics, engine: dialogue{engines: s.engines}, protocol: protocol, peer: peer, log: s.cfg.Logger, told: &s.told,
		ctx: ctx, cancel: cancel, draining: s.draining, window: windowSize, streams: map[uint32]*stream{},
	}
	c.net = &netConn{conn: raw, idle: s.cfg.Deadlines.Idle, write: s.cfg.Deadlines.Write, received: s.metrics.bytes, onWake: c.onWake}
	_, c.net.gather = raw.(*net.TCPConn)
	c.writer = chunkWriter{w: c.net, size: defaultChunkSize}
	return c
}
