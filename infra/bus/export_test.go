package bus

import "github.com/nats-io/nats.go"

// Traffic is what has gone over the connection.
func (c *Control) Traffic() nats.Statistics { return c.nc.Stats() }
