package bustest

import (
	"runtime"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"

	"klive/infra/bus"
)

// Prepare makes it possible to run a bus inside synctest bubbles until the test
// ends. Call it outside the bubble.
func Prepare(t testing.TB) {
	t.Helper()
	ats.Register()
	t.Cleanup(ats.Unregister)
	// The client library pools timers when it connects again. Those of a bubble before
	// must not be found in this one; a pool is empty after two collections.
	runtime.GC()
	runtime.GC()
}

// Start starts a node that keeps everything in memory and returns its connection;
// both end with the test. Inside a synctest bubble, [Prepare] must have been
// called outside before.
func Start(t testing.TB) *bus.Control {
	t.Helper()
	return StartNode(t).Control()
}

// StartNode is [Start] for tests that need connections of their own, one for each
// process they play.
func StartNode(t testing.TB) *bus.Node {
	t.Helper()
	n, err := bus.StartNode(t.Context(), bus.NodeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Connect is a connection of its own to a node, closed with the test.
func Connect(t testing.TB, n *bus.Node, name string) *bus.Control {
	t.Helper()
	c, err := n.Connect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
