package bus_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
)

// slowEar is a connection over which the server's answers come late when that is wanted:
// what was asked is done, but who asked does not learn of it in time.
type slowEar struct {
	net.Conn
	ears *ears
}

type ears struct {
	mu    sync.Mutex // guards the fields below
	until time.Time
}

func (e *ears) deafFor(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.until = time.Now().Add(d)
}

func (c slowEar) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ears.mu.Lock()
	wait := time.Until(c.ears.until)
	c.ears.mu.Unlock()
	time.Sleep(wait)
	return n, err
}

// A write whose answer does not come in time is sent again, and is known again: its own first
// attempt is no conflict. A leader that is gone does not hold a write up for longer.
func TestWritesWithoutAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx, e := t.Context(), &ears{}
		c, err := bus.Connect(ctx, bus.ConnectConfig{URL: "nats://127.0.0.1:4222", Name: "deaf", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := n.Dial(ctx, network, address)
			return slowEar{conn, e}, err
		}})
		must(t, err)
		defer c.Close()
		feeds := openBucket(t, c, bus.BucketConfig{Name: "feeds", Memory: true})
		log := openLog(t, c, bus.LogConfig{Name: "timeline", Memory: true})
		const deaf = 1500 * time.Millisecond
		slowly := func(write func() (uint64, error)) uint64 {
			t.Helper()
			e.deafFor(deaf)
			began := time.Now()
			number, err := write()
			must(t, err)
			if took := time.Since(began); took < deaf || took > deaf+time.Second {
				t.Errorf("took %v", took)
			}
			return number
		}
		first := slowly(func() (uint64, error) { return feeds.Create(ctx, "a", []byte("1"), 0) })
		second := slowly(func() (uint64, error) { return feeds.Update(ctx, "a", []byte("2"), first) })
		if kv, err := feeds.Get(ctx, "a"); err != nil || kv.Revision != second || string(kv.Value) != "2" {
			t.Errorf("the bucket holds %+v, %v, want revision %d", kv, err, second)
		}
		_, err = feeds.Update(ctx, "a", []byte("3"), first)
		wantErr(t, err, bus.ErrConflict)
		slowly(func() (uint64, error) { return 0, feeds.Delete(ctx, "a", second) })

		one := slowly(func() (uint64, error) { return log.Append(ctx, "0_abc", "one", []byte("1"), 0) })
		two := slowly(func() (uint64, error) { return log.Append(ctx, "0_abc", "two", []byte("2"), one) })
		if last, err := log.LastSeq(ctx, "0_abc"); err != nil || last != two || two != one+1 {
			t.Errorf("the log ends at %d, %v; %d and %d were appended", last, err, one, two)
		}
		_, err = log.Append(ctx, "0_abc", "three", []byte("3"), one)
		wantErr(t, err, bus.ErrConflict)
	})
}
