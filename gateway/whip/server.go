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
	told    gateway.Refusals   // and sessions that were ended

	running sync.WaitGroup // sessions and undecided requests

	// mu guards the fields below.
	mu        sync.Mutex
	sessions  map[string]*session
	undecided int // requests
	opening   int // sessions
	closed    bool
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

// undecidedFactor bounds the requests that are decided on at a time, by the sessions that there
// may be.
const undecidedFactor = 4

// enter lets a request in that is to be decided on. Each that succeeds needs a leave.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errShutdown
	case s.undecided >= undecidedFactor*s.cfg.MaxSessions:
		return &gateway.Refusal{Reason: gateway.ReasonLimit, Text: "this server has as many WHIP requests as it takes; try again in a moment"}
	}
	s.undecided++
	s.running.Add(1)
	return nil
}

// leave counts a request out.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undecided--
	s.running.Done()
}

// reserve makes room for the session of an encoder that may publish. Each that succeeds needs a
// register or a release.
func (s *Server) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions)+s.opening >= s.cfg.MaxSessions {
		return &gateway.Refusal{Reason: gateway.ReasonLimit, Text: "this server has as many WHIP sessions as it takes; try again in a moment"}
	}
	s.opening++
	s.metrics.sessions.Inc()
	return nil
}

// release gives a session's room up.
func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	s.metrics.sessions.Dec()
}

// register has a session begin. Its request is still counted in.
func (s *Server) register(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	s.sessions[one.id] = one
	s.running.Add(1)
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
