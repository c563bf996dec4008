package bus

import (
	"context"
	"net"

	"github.com/nats-io/nats.go"
)

// ConnectBy is [Node.Connect] over connections that dial makes, with [Node.Dial] behind it:
// what lies between a process and the bus can then be slow, cut or stopped.
func (n *Node) ConnectBy(ctx context.Context, name string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Control, error) {
	return connect(ctx, controlSetup{
		name: name, url: nats.DefaultURL, replicas: 1, memory: n.memory, log: n.log,
		beat:    remoteBeat,
		options: []nats.Option{nats.SetCustomDialer(&dialer{dial: dial}), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings)},
		healthy: n.healthy,
	})
}
