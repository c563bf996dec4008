package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

// A message that was lost with its connection, the last one for long, is there soon after the
// next connection: whether that broke at once, or was dead for a while before anybody noticed.
func TestLastMessageLostWithTheConnection(t *testing.T) {
	for _, how := range []struct {
		name    string
		fail    func(*network)
		noticed time.Duration
	}{
		{"broken", (*network).snap, 2 * time.Second}, // a new connection and a beat
		{"dead", (*network).cut, 10 * time.Second},   // unanswered pings before
	} {
		for _, asked := range []struct {
			name   string
			before int // messages that were read before the cut
		}{{"first", 0}, {"in the middle of a batch", 3}, {"when it was asked again", 5}, {"after a batch", 8}} {
			t.Run(how.name+" "+asked.name, func(t *testing.T) {
				bubble(t, func(t *testing.T, n *bus.Node) {
					ctx := t.Context()
					far := newNetwork(n)
					c := far.connect(t)
					bucket := openBucket(t, n.Control(), bus.BucketConfig{Name: "feeds", Memory: true})
					watcher, err := openBucket(t, c, bus.BucketConfig{Name: "feeds", Memory: true}).Watch(ctx, "")
					must(t, err)
					nextChange(t, watcher)
					log := openLog(t, n.Control(), bus.LogConfig{Name: "timeline", Memory: true})
					records, err := openLog(t, c, bus.LogConfig{Name: "timeline", Memory: true}).Follow(ctx, "", 0)
					must(t, err)
					streams := openStreams(t, n.Control(), bus.StreamsConfig{})
					media := followFrom(t, openStreams(t, c, bus.StreamsConfig{}), 0)

					write := func(i int) {
						send(t, streams, fmt.Sprint(i), "part")
						_, err := bucket.Put(ctx, fmt.Sprint("key", i), []byte("value"))
						must(t, err)
						_, err = addTo(ctx, log, "0_abc", fmt.Sprint(i), []byte("record"))
						must(t, err)
					}
					read := func(i int) {
						receive(t, media, uint64(i), fmt.Sprint(i))
						if change, err := watcher.Next(ctx); err != nil || change.Key != fmt.Sprint("key", i) {
							t.Fatalf("change %d: %+v, %v", i, change, err)
						}
						if r, err := records.Next(ctx); err != nil || r.ID != fmt.Sprint(i) {
							t.Fatalf("record %d: %+v, %v", i, r, err)
						}
					}
					for i := 1; i <= asked.before; i++ {
						write(i)
						read(i)
					}
					waiting := make(chan time.Time)
					go func() {
						read(asked.before + 1)
						waiting <- time.Now()
					}()
					time.Sleep(500 * time.Millisecond)
					how.fail(far)
					write(asked.before + 1)
					time.Sleep(10 * time.Millisecond) // it is on its way, and lost
					far.heal()
					healed := time.Now()
					if took := (<-waiting).Sub(healed); took > how.noticed {
						t.Errorf("what was lost came after %v", took)
					}
				})
			})
		}
	}
}

// A reader that is away for long, while the server tells it many times that it waits, gets what
// came meanwhile, each once, from the consumer that it had.
func TestReaderThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		reg := prometheus.NewPedanticRegistry()
		s := openStreams(t, n.Control(), bus.StreamsConfig{MaxAge: time.Hour})
		f := followFrom(t, openStreams(t, newNetwork(n).connect(t), bus.StreamsConfig{MaxAge: time.Hour, Registerer: reg}), 0)
		next := 1
		for _, burst := range []int{1, 3, 8, 9, 40, 1} {
			time.Sleep(100 * time.Second)
			for i := range burst {
				send(t, s, fmt.Sprint(next+i), "part")
			}
			for range burst {
				receive(t, f, uint64(next), fmt.Sprint(next))
				next++
			}
		}
		if again := metric(t, reg, "klive_bus_media_follower_reopened_total"); again != 0 {
			t.Errorf("the follower was set up again %v times", again)
		}
	})
}

// Who waits for long hears at once of what comes, also when the server has given up one request
// after another meanwhile.
func TestWaitForLong(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		s := openStreams(t, n.Control(), bus.StreamsConfig{MaxAge: time.Hour})
		f := followFrom(t, openStreams(t, bustest.Connect(t, n, "far"), bus.StreamsConfig{MaxAge: time.Hour}), 0)
		for i, pause := range []time.Duration{29, 30, 31, 59, 61, 29*60 + 1} {
			var wg sync.WaitGroup
			var sent time.Time
			wg.Go(func() {
				time.Sleep(pause * time.Second)
				sent = time.Now()
				send(t, s, fmt.Sprint(i+1), "part")
			})
			receive(t, f, uint64(i+1), fmt.Sprint(i+1))
			came := time.Now()
			wg.Wait()
			if took := came.Sub(sent); took > 10*time.Millisecond {
				t.Errorf("a message after %v s came after %v", int(pause), took)
			}
		}
	})
}

// Of whose connection was lost again and again, no more than a batch is sent without being read:
// what was asked over the former connections does not add up.
func TestReadAheadAfterReconnects(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		reg := prometheus.NewPedanticRegistry()
		s := openStreams(t, n.Control(), bus.StreamsConfig{MaxAge: time.Hour})
		far := newNetwork(n)
		c := far.connect(t)
		f := followFrom(t, openStreams(t, c, bus.StreamsConfig{MaxAge: time.Hour, Registerer: reg}), 0)
		for range 4 {
			far.snap()
			wantQuiet(t, f, 3*time.Second)
		}
		if got := c.Traffic().Reconnects; got != 4 {
			t.Fatalf("the connection was made anew %d times, want 4", got)
		}
		time.Sleep(5 * time.Minute)
		before := c.Traffic().InMsgs
		for i := 1; i <= 40; i++ {
			send(t, s, fmt.Sprint(i), "part")
		}
		time.Sleep(100 * time.Millisecond)
		if got := c.Traffic().InMsgs - before; got > 8+2 { // and a beat or two
			t.Errorf("%d messages were sent to a follower that reads none", got)
		}
		for i := 1; i <= 40; i++ {
			receive(t, f, uint64(i), fmt.Sprint(i))
		}
		if again := metric(t, reg, "klive_bus_media_follower_reopened_total"); again != 0 {
			t.Errorf("the follower was set up again %v times", again)
		}
	})
}

// Readers that were away while the connection was lost and made anew keep their consumers.
func TestReadersAwayWhileReconnecting(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		reg := prometheus.NewPedanticRegistry()
		s := openStreams(t, n.Control(), bus.StreamsConfig{})
		far := newNetwork(n)
		streams := openStreams(t, far.connect(t), bus.StreamsConfig{Registerer: reg})
		readers := make([]bus.Follower, 16)
		send(t, s, "1", "part")
		for i := range readers {
			readers[i] = followFrom(t, streams, 0)
			receive(t, readers[i], 1, "1")
		}
		far.cut()
		time.Sleep(8 * time.Second)
		far.heal()
		time.Sleep(3 * time.Second)
		send(t, s, "2", "part")
		for _, f := range readers {
			receive(t, f, 2, "2")
		}
		if again := metric(t, reg, "klive_bus_media_follower_reopened_total"); again != 0 {
			t.Errorf("followers were set up again %v times", again)
		}
	})
}

// Who waits is not held up by a connection that is being made and takes long, beyond its own patience.
func TestNextWhileConnecting(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		far := newNetwork(n)
		var slow atomic.Bool
		c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://127.0.0.1:4222", Name: "far",
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if slow.Load() {
					time.Sleep(4 * time.Second)
				}
				return far.dial(ctx, network, address)
			}})
		must(t, err)
		t.Cleanup(c.Close)
		s := openStreams(t, n.Control(), bus.StreamsConfig{})
		f := followFrom(t, openStreams(t, c, bus.StreamsConfig{}), 0)
		send(t, s, "1", "part")
		receive(t, f, 1, "1")
		slow.Store(true)
		far.snap()
		time.Sleep(2 * time.Second) // a beat is lost, and another connection being made
		began := time.Now()
		wantQuiet(t, f, 100*time.Millisecond)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("Next returned after %v", took)
		}
		send(t, s, "2", "part")
		receive(t, f, 2, "2")
	})
}

// wantQuiet waits for a message that does not come.
func wantQuiet(t *testing.T, f bus.Follower, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if m, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got message %d, %v; want none", m.Seq, err)
	}
}
