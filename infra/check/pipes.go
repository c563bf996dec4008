package check

import (
	"context"
	"net"
	"sync"
)

// Pipes is a network of listeners that are reached by name instead of by socket, so that a
// whole service runs in virtual time.
type Pipes struct {
	mu        sync.Mutex // guards the field below
	listeners map[string]*PipeListener
}

// NewPipes returns a network without listeners.
func NewPipes() *Pipes { return &Pipes{listeners: map[string]*PipeListener{}} }

// Listen opens the listener of a configuration key.
func (p *Pipes) Listen(_ context.Context, key, address string) (net.Listener, error) {
	l := &PipeListener{address: pipeAddr(address), incoming: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[key] = l
	return l, nil
}

// Dialer returns a function that connects to one key's listener, whatever address it is given.
func (p *Pipes) Dialer(key string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		p.mu.Lock()
		l := p.listeners[key]
		p.mu.Unlock()
		if l == nil {
			return nil, net.ErrClosed
		}
		return l.dial(ctx)
	}
}

// PipeListener hands out one end of each connection that a dialer makes.
type PipeListener struct {
	address  pipeAddr
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *PipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.incoming <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. Closing twice is fine.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Closed reports whether the listener was closed.
func (l *PipeListener) Closed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Addr implements [net.Listener].
func (l *PipeListener) Addr() net.Addr { return l.address }

type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }
