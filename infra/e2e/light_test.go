package e2e

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"klive/infra/publisher"
)

// batchEvery is how often a light publisher sends: what its encoder has made meanwhile goes out at once.
const batchEvery = 100 * time.Millisecond

// batchedConn keeps what is written until the next batch, so that hundreds of publishers in one
// process are not what a test measures.
type batchedConn struct {
	net.Conn
	ended chan struct{}
	wg    sync.WaitGroup
	once  sync.Once

	mu    sync.Mutex // guards the fields below
	batch []byte
	err   error // of a batch; the next write returns it
}

func newBatchedConn(c net.Conn) *batchedConn {
	b := &batchedConn{Conn: c, ended: make(chan struct{})}
	b.wg.Go(b.run)
	return b
}

func (b *batchedConn) run() {
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.flush()
		case <-b.ended:
			return
		}
	}
}

func (b *batchedConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.batch = append(b.batch, p...)
	return len(p), nil
}

func (b *batchedConn) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.batch) > 0 && b.err == nil {
		_, b.err = b.Conn.Write(b.batch)
		b.batch = b.batch[:0]
	}
}

// Close sends what is left.
func (b *batchedConn) Close() error {
	b.once.Do(func() {
		b.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // a batch may wait for a server that reads no more
		close(b.ended)
		b.wg.Wait()
		b.flush()
	})
	return b.Conn.Close()
}

// publishLightly is publish in batches, without note of what was sent.
func publishLightly(t testing.TB, url string, clip *publisher.Clip) *feed {
	t.Helper()
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: url, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newBatchedConn(c), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{pub: pub}
	f.play(t, publisher.Play{Clip: clip})
	return f
}
