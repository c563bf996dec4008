package srt

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"klive/infra/check/fault"
)

// TestMutatedDatagrams has callers whose datagrams are changed on their way: the server lives,
// lets sound callers in meanwhile, and keeps nothing of the others. infra/e2e does the same to
// a whole klive, for ten minutes.
func TestMutatedDatagrams(t *testing.T) {
	const run = 4 * time.Second
	r := newRig(t, "wordwordword", func(c *Config) { c.Peer, c.Publish = time.Second, time.Second })
	relay := fault.NewDatagramRelay(t, r.server.Addrs()[0].String(), fault.Weather{Mutate: 0.3}, fault.Weather{})
	end := time.Now().Add(run)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for time.Now().Before(end) {
				c := srt.DefaultConfig()
				c.StreamId, c.Passphrase, c.ConnectionTimeout, c.PeerIdleTimeout = goodID, "wordwordword", 300*time.Millisecond, time.Second
				conn, err := srt.Dial("srt", relay.Addr(), c)
				if err != nil {
					continue
				}
				for range 50 {
					if _, err := conn.Write(make([]byte, 1316)); err != nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				conn.Close()
			}
		})
	}
	callers.Wait()
	passed, _ := relay.Count()
	t.Logf("%d datagrams came through in %v; %v malformed handshakes were caught, %v callers let in",
		passed, run, testutil.ToFloat64(r.server.metrics.panics), testutil.ToFloat64(r.server.metrics.accepted))
	r.wait("the mutated callers to be gone", func() bool { return testutil.ToFloat64(r.server.metrics.connections) == 0 && r.onAir() == nil })
	conn, err := r.call(goodID, "wordwordword", 16)
	if err != nil {
		t.Fatalf("a sound caller is not let in: %v", err)
	}
	r.wait("the sound caller's feed", func() bool { return r.onAir() != nil })
	conn.Close()
	r.wait("the end of its feed", func() bool { return r.onAir() == nil })
	r.server.Close()
	r.wait("the server's goroutines to end", func() bool {
		buf := make([]byte, 8<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, "klive/gateway/srt.(*caller)") && !strings.Contains(stacks, "gosrt.(*listener)")
	})
}
