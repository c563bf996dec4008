package fault

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Flow is how a relay treats the bytes of one direction.
type Flow struct {
	// Hold keeps them back; nothing is lost.
	Hold bool
	// Delay is how much later each byte arrives.
	Delay time.Duration
}

// Relay is a TCP relay before a server. It stands at one address until the test ends.
type Relay struct {
	addr, target string

	mu       sync.Mutex // guards the fields below
	listener net.Listener
	up, down Flow
	changed  chan struct{} // closed and renewed by each change
	conns    map[net.Conn]struct{}
	closed   bool
	wg       sync.WaitGroup
}

// relayChunk is the most that a relay reads at a time, relayQueue how many such pieces are
// on their way in one direction of a connection.
const (
	relayChunk = 64 << 10
	relayQueue = 64
)

// NewRelay stands before target, host:port, at a free loopback address.
func NewRelay(t testing.TB, target string) *Relay {
	t.Helper()
	r := &Relay{
		addr: Ports(t, 1)[0], target: target,
		changed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// Addr is where the relay stands.
func (r *Relay) Addr() string { return r.addr }

// Set changes both directions: up is from the client to the server.
func (r *Relay) Set(up, down Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.down = up, down
	close(r.changed)
	r.changed = make(chan struct{})
}

// Hang keeps everything back in both directions; new connections are taken and get no answer.
func (r *Relay) Hang() { r.Set(Flow{Hold: true}, Flow{Hold: true}) }

// Cut ends all present connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// Refuse cuts all connections and refuses new ones, as a host does where nothing listens.
func (r *Relay) Refuse() {
	r.mu.Lock()
	if r.listener != nil {
		r.listener.Close()
		r.listener = nil
	}
	r.mu.Unlock()
	r.Cut()
}

// Pass ends every fault.
func (r *Relay) Pass() error {
	r.Set(Flow{}, Flow{})
	return r.open()
}

func (r *Relay) open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil || r.closed {
		return nil
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		return err
	}
	r.listener = l
	r.wg.Go(func() { r.accept(l) })
	return nil
}

func (r *Relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Refuse()
	r.Set(Flow{}, Flow{})
	r.wg.Wait()
}

func (r *Relay) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(c) })
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	if !r.keep(client) {
		return
	}
	defer r.forget(client)
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !r.keep(server) {
		return
	}
	defer r.forget(server)
	var wg sync.WaitGroup
	wg.Go(func() { r.carry(server, client, func() Flow { return r.up }) })
	wg.Go(func() { r.carry(client, server, func() Flow { return r.down }) })
	wg.Wait()
}

func (r *Relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil { // it came in as the relay began to refuse
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *Relay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

type relayed struct {
	data []byte
	at   time.Time
}

// carry brings bytes from one side to the other until either ends; both sides end then.
func (r *Relay) carry(to, from net.Conn, flow func() Flow) {
	queue, ended := make(chan relayed, relayQueue), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(queue)
		for {
			b := make([]byte, relayChunk)
			n, err := from.Read(b)
			if n > 0 {
				select {
				case queue <- relayed{b[:n], time.Now()}:
				case <-ended:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for piece := range queue {
		r.wait(piece.at, flow)
		if _, err := to.Write(piece.data); err != nil {
			break
		}
	}
	close(ended)
	to.Close()
	from.Close()
	wg.Wait()
}

// wait returns when a piece that came at the given moment may go on.
func (r *Relay) wait(at time.Time, flow func() Flow) {
	for {
		r.mu.Lock()
		f, changed, closed := flow(), r.changed, r.closed
		r.mu.Unlock()
		left := time.Until(at.Add(f.Delay))
		if closed || !f.Hold && left <= 0 {
			return
		}
		if f.Hold {
			<-changed
			continue
		}
		select {
		case <-changed:
		case <-time.After(left):
		}
	}
}
