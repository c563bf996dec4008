package node

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestSparing: a connection whose descriptor is one of the last is closed as it comes, and one that
// comes when there are more is taken.
func TestSparing(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	var most atomic.Int64
	most.Store(4) // fewer than this process has open
	l := &sparing{
		Listener: plain, most: func() (int, bool) { return int(most.Load()), true },
		closed: prometheus.NewCounter(prometheus.CounterOpts{Name: "closed"}), log: slog.New(slog.NewTextHandler(&said, nil)),
	}
	taken := make(chan net.Conn, 1)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			taken <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range 3 {
		c := dial()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("a connection beyond the last descriptors: %v, want its end", err)
		}
	}
	if n := testutil.ToFloat64(l.closed); n != 3 {
		t.Errorf("%v connections were counted, want 3", n)
	}
	most.Store(1 << 16)
	c := dial()
	select {
	case other := <-taken:
		other.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		other.Close()
	case <-time.After(5 * time.Second):
		t.Error("a connection for which there is room is not taken")
	}
	l.Close()
	if err := <-ended; err == nil {
		t.Error("no error after the end")
	}
	if n := strings.Count(said.String(), "ulimit -n"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, said.String())
	}
}

func TestSpared(t *testing.T) {
	for most, want := range map[int]int{64: 8, 1024: 51, 65536: 1024} {
		if got := spared(most); got != want {
			t.Errorf("of %d descriptors %d are spared, want %d", most, got, want)
		}
	}
}
