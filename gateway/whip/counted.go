package whip

import (
	"net"
	"sync"
)

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
