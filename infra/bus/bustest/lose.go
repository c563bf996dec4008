package bustest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"klive/infra/bus"
)

// nodeDialer lets the client library reach a node.
type nodeDialer struct {
	ctx  context.Context
	node *bus.Node
}

// Dial is called by the client library.
func (d nodeDialer) Dial(network, address string) (conn net.Conn, err error) {
	return d.node.Dial(d.ctx, network, address)
}

// Lose takes all buckets, logs and media from a node, as if it had lost its disk.
func Lose(t testing.TB, n *bus.Node) {
	t.Helper()
	asOperator(t, n, func(ctx context.Context, js jetstream.JetStream) error {
		list := js.StreamNames(ctx)
		for name := range list.Name() {
			if err := js.DeleteStream(ctx, name); err != nil {
				return err
			}
		}
		return list.Err()
	})
}

// LoseTakers takes the consumer from a node that all who take from a queue share, as somebody with NATS's own
// tools might.
func LoseTakers(t testing.TB, n *bus.Node, queue string) {
	t.Helper()
	asOperator(t, n, func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteConsumer(ctx, "klive_queue_"+queue, "takers")
	})
}

// asOperator does something to a node's streams over a connection of its own.
func asOperator(t testing.TB, n *bus.Node, do func(context.Context, jetstream.JetStream) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	nc, err := nats.Connect(nats.DefaultURL, nats.SetCustomDialer(nodeDialer{ctx, n}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil {
		err = do(ctx, js)
	}
	if err != nil {
		t.Fatal(err)
	}
}
