package whip

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// firstRest and longestRest are the times to wait after a failed accept.
	firstRest, longestRest = 50 * time.Millisecond, time.Second
	// acceptLog is the time between two lines about failed accepts.
	acceptLog = 10 * time.Second
)

// limitListener refuses connections beyond a number at a time, and goes on after errors: the
// library would give a listener up for one.
func limitListener(l net.Listener, n int, log *slog.Logger) net.Listener {
	return &limited{Listener: l, room: make(chan struct{}, n), log: log}
}

// limited is for one goroutine that accepts.
type limited struct {
	net.Listener
	room chan struct{}
	log  *slog.Logger
	told time.Time // of an error
}

// Accept implements net.Listener. Its one error is that the listener was closed.
func (l *limited) Accept() (net.Conn, error) {
	rest := firstRest
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			if now := time.Now(); now.Sub(l.told) >= acceptLog {
				l.told = now
				l.log.Warn("WHIP can't take a TCP connection; are the open files limited too low?", "error", err)
			}
			time.Sleep(rest)
			rest = min(2*rest, longestRest)
			continue
		}
		rest = firstRest
		select {
		case l.room <- struct{}{}:
			return &counted{Conn: c, room: l.room}, nil
		default:
			c.Close()
		}
	}
}

// counted is a connection that makes room for another one when it is closed.
type counted struct {
	net.Conn
	room chan struct{}
	once sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(func() { <-c.room })
	return c.Conn.Close()
}
