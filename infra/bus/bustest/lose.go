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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	nc, err := nats.Connect(nats.DefaultURL, nats.SetCustomDialer(nodeDialer{ctx, n}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		if err := js.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
}
