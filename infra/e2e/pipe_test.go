package e2e

import (
	"context"
	"net"
	"sync"
)

// pipes is a network of listeners that are reached by name instead of by socket, so that a
// whole service runs in virtual time.
type pipes struct {
	mu        sync.Mutex // guards the field below
	listeners map[string]*pipeListener
}

func newPipes() *pipes { return &pipes{listeners: map[string]*pipeListener{}} }

// listen opens the listener of a configuration key.
func (p *pipes) listen(_ context.Context, key, address string) (net.Listener, error) {
	l := &pipeListener{address: pipeAddr(address), incoming: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[key] = l
	return l, nil
}

// dialler returns a function that connects to one key's listener, whatever address it is given.
func (p *pipes) dialler(key string) func(context.Context, string, string) (net.Conn, error) {
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

type pipeListener struct {
	address  pipeAddr
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
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

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.address }

type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }
