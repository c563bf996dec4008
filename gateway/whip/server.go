package whip

import (
	"fmt"
	"net"
	"sync"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"klive/gateway"
)

// Server answers what lies under [Prefix], and holds the sessions.
type Server struct {
	cfg     Config
	metrics *metrics
	api     *webrtc.API
	udp     *ice.UDPMuxDefault
	tcp     *ice.TCPMuxDefault // nil without one

	running sync.WaitGroup // sessions, and decisions on them

	// mu guards the fields below.
	mu       sync.Mutex
	sessions map[string]*session
	opening  int
	closed   bool
}

// New returns a server that is ready. Close ends its sessions and closes the sockets, which
// an error does too.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Registerer), sessions: map[string]*session{}}
	var err error
	if s.api, err = s.newAPI(); err != nil {
		s.closeSockets()
		return nil, fmt.Errorf("whip: %w", err)
	}
	return s, nil
}

// Addrs are the addresses of the media sockets.
func (s *Server) Addrs() []net.Addr {
	list := []net.Addr{s.cfg.UDP.LocalAddr()}
	if s.cfg.TCP != nil {
		list = append(list, s.cfg.TCP.Addr())
	}
	return list
}

var errShutdown = &gateway.Refusal{Reason: gateway.ReasonShutdown, Text: "this server is shutting down; connect again to reach another one"}

// Close ends every session in order and waits for them. Requests are refused from then on.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	list := make([]*session, 0, len(s.sessions))
	for _, one := range s.sessions {
		list = append(list, one)
	}
	s.mu.Unlock()
	for _, one := range list {
		one.end(endGateway, errShutdown)
	}
	s.running.Wait()
	s.closeSockets()
}

func (s *Server) closeSockets() {
	if s.udp != nil {
		_ = s.udp.Close()
	}
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
	_ = s.cfg.UDP.Close()
	if s.cfg.TCP != nil {
		_ = s.cfg.TCP.Close()
	}
}

// enter makes room for a session that is being decided on. Each that succeeds needs a leave.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errShutdown
	case len(s.sessions)+s.opening >= s.cfg.MaxSessions:
		return &gateway.Refusal{Reason: gateway.ReasonLimit, Text: "this server has as many WHIP sessions as it takes; try again in a moment"}
	}
	s.opening++
	s.running.Add(1)
	s.metrics.sessions.Inc()
	return nil
}

// leave counts a decision out; session is nil when it was a no. One that was let in counts on
// until it has ended.
func (s *Server) leave(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	if one == nil {
		s.running.Done()
		s.metrics.sessions.Dec()
		return
	}
	s.sessions[one.id] = one
	one.begin()
	if s.closed {
		one.end(endGateway, errShutdown)
	}
}

func (s *Server) forget(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.sessions.Dec()
	delete(s.sessions, one.id)
}

func (s *Server) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}
