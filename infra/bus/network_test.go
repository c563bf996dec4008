package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"klive/infra/bus"
)

// network lies between a node and its clients and can be cut: then nothing
// passes, nobody is told, and nobody gets through anew. What was connected at a
// cut stays dead after it. Writes vanish at once, as into a kernel's buffer:
// blocking in them, with the client library's locks held, would stop a bubble.
type network struct {
	// mu guards the fields below.
	mu     sync.Mutex
	node   *bus.Node
	down   bool
	cuts   int
	tell   bool     // connections that were cut break with the next thing that would come over them
	lose   []string // texts of the writes that are to be lost
	losses int      // how many of them were
}

func newNetwork(n *bus.Node) *network { return &network{node: n} }

func (f *network) connect(t *testing.T) *bus.Control {
	t.Helper()
	c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://127.0.0.1:4222", Name: "far", Dial: f.dial})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func (f *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	down, cuts := f.state()
	if down {
		return nil, errors.New("no route to host")
	}
	f.mu.Lock()
	node := f.node
	f.mu.Unlock()
	conn, err := node.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &farConn{Conn: conn, network: f, cuts: cuts}, nil
}

func (f *network) state() (down bool, cuts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down, f.cuts
}

func (f *network) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	f.cuts++
}

// snap breaks all connections: the next thing that comes over each is lost, and its end.
func (f *network) snap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	f.tell = true
}

// loseNext loses as many of the writes to come as there are texts, each the next one that holds its text.
func (f *network) loseNext(texts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = texts
}

func (f *network) loses(p []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lose) == 0 || !bytes.Contains(p, []byte(f.lose[0])) {
		return false
	}
	f.lose = f.lose[1:]
	f.losses++
	return true
}

// lost is how many writes were lost so.
func (f *network) lost() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.losses
}

func (f *network) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

// move leads all new connections to another node.
func (f *network) move(n *bus.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.node = n
}

// farConn is a connection made when the network had been cut so many times.
type farConn struct {
	net.Conn
	network *network
	cuts    int
}

func (c *farConn) dead() bool {
	_, cuts := c.network.state()
	return cuts != c.cuts
}

func (c *farConn) told() bool {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	return c.network.tell
}

func (c *farConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		switch {
		case err != nil || !c.dead():
			return n, err
		case c.told():
			return 0, syscall.ECONNRESET
		}
	}
}

func (c *farConn) Write(p []byte) (int, error) {
	if c.dead() {
		return len(p), nil
	}
	if c.network.loses(p) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestFollowersOutliveTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		far := newNetwork(n)
		c := far.connect(t)
		near := openBucket(t, n.Control(), bus.BucketConfig{Name: "feeds", Memory: true})
		w, err := openBucket(t, c, bus.BucketConfig{Name: "feeds", Memory: true}).Watch(ctx, "")
		must(t, err)
		nextChange(t, w)
		log := openLog(t, n.Control(), bus.LogConfig{Name: "timeline", Memory: true})
		f, err := openLog(t, c, bus.LogConfig{Name: "timeline", Memory: true}).Follow(ctx, "", 0)
		must(t, err)
		for round := range 3 {
			if round == 1 {
				far.cut()
			}
			for i := range 100 {
				_, err := near.Put(ctx, fmt.Sprint("key", i), fmt.Append(nil, round))
				must(t, err)
				_, err = addTo(ctx, log, "0_abc", fmt.Sprint(round, "-", i), fmt.Append(nil, round*100+i))
				must(t, err)
			}
			time.Sleep(time.Minute)
			if round == 1 {
				wantErr(t, c.Healthy(), bus.ErrUnavailable)
				wantErr(t, c.Notify("x", nil), bus.ErrUnavailable)
				far.heal()
				time.Sleep(time.Minute)
				must(t, c.Healthy())
			}
		}
		for i := range 300 {
			r, err := f.Next(ctx)
			must(t, err)
			if string(r.Data) != fmt.Sprint(i) {
				t.Fatalf("record %d holds %s", i, r.Data)
			}
		}
		last := make(map[string]string)
		quiet, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for {
			change, err := w.Next(quiet)
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			must(t, err)
			last[change.Key] = string(change.Value)
		}
		for i := range 100 {
			if got := last[fmt.Sprint("key", i)]; got != "2" {
				t.Errorf("key %d was last seen as %q, want 2", i, got)
			}
		}
	})
}

func TestConnectToNobody(t *testing.T) {
	_, err := bus.Connect(t.Context(), bus.ConnectConfig{})
	wantErr(t, err, bus.ErrInvalid)
	_, err = bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://127.0.0.1:1", Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}})
	wantErr(t, err, bus.ErrUnavailable)
}
