package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/publisher"
)

// maxHeap is what the gateway's heap may take under attack, in bytes.
const maxHeap = 200 << 20

// TestMutatedSessions sends mutated RTMP sessions at a running service: it lives, its heap
// stays small, and a healthy feed beside them loses nothing.
func TestMutatedSessions(t *testing.T) {
	beside(t)
	promised(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_LOG_LEVEL=error")
	// In the first half each worker goes round entries of its own, so that most sessions come
	// on the air. In the second half all want the same one: nearly every session waits to take
	// it over and is refused, and connections gather until no more are taken.
	const workers, each = 6, 8
	victims := p.addEntries(t, workers*each)
	session := record(t, p, victims[0])
	run := length(10*time.Minute, 10*time.Second)
	clip := demoClip(t, publisher.Synthetic{BFrames: 2})
	healthy := publish(t, p.demo(), clip, run+2*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), run)
	defer cancel()
	var sessions, heap, conns atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	seed := uint64(begin.UnixNano())
	t.Logf("seed %d, a session of %d bytes", seed, len(session))
	for worker := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for i := 0; ctx.Err() == nil && p.running(); i++ {
				victim := victims[worker*each+i%each]
				if time.Since(begin) > run/2 {
					victim = victims[0]
				}
				if attack(ctx, rng, p.rtmp, mutate(rng, addressed(session, victims[0], victim))) {
					sessions.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil && p.running() {
			heap.Store(max(heap.Load(), p.metric(t, "go_memstats_heap_inuse_bytes")))
			conns.Store(max(conns.Load(), p.metric(t, "klive_rtmp_connections")))
			time.Sleep(250 * time.Millisecond)
		}
	})
	done := make(chan struct{})
	wg.Go(func() { healthy.wait(); close(done) })
	follower := follow(t, p, "0_demolive", done)
	wg.Wait()
	t.Logf("%d sessions in %v, at most %d connections and %d MB of heap", sessions.Load(), run, conns.Load(), heap.Load()>>20)
	if !p.running() {
		t.Fatalf("the service died: %v\n%s", p.err, p.log)
	}
	if healthy.err != nil {
		t.Errorf("the healthy feed ended: %v", healthy.err)
	}
	if heap.Load() > maxHeap || heap.Load() == 0 {
		t.Errorf("the heap took %d MB, want at most %d", heap.Load()>>20, maxHeap>>20)
	}
	audit := follower.Audit(healthy.sent)
	if lost := len(audit.Video.Lost) + len(audit.Audio.Lost) + audit.Video.Tail + audit.Audio.Tail; lost > 0 || audit.Video.Sent == 0 {
		t.Errorf("the healthy feed lost frames:\n%v", audit)
	}
	if sessions.Load() < int64(run.Seconds()) {
		t.Errorf("only %d sessions were sent", sessions.Load())
	}
}

// record returns what a publisher writes in a whole, short session.
func record(t *testing.T, p *process, e entry) []byte {
	t.Helper()
	var tap tapped
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		tap.Conn = c
		return &tap, err
	}
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: p.broadcast(e.ID, e.Token), DialContext: dial})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	clip := demoClip(t, publisher.Synthetic{Width: 64, Height: 64, GOP: time.Second, RepeatSets: true})
	if err := pub.Play(t.Context(), publisher.Play{Clip: clip, Limit: 3 * time.Second, Unpaced: true}); err != nil {
		t.Fatal(err)
	}
	pub.Close()
	return tap.written.Bytes()
}

// tapped keeps what is written to a connection.
type tapped struct {
	net.Conn
	written bytes.Buffer
}

func (c *tapped) Write(b []byte) (int, error) {
	c.written.Write(b)
	return c.Conn.Write(b)
}

// addressed turns a session for one entry into one for another: ids and tokens are all of
// one length.
func addressed(session []byte, from, to entry) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(session, []byte(from.ID), []byte(to.ID)), []byte(from.Token), []byte(to.Token))
}

// handshakeBytes are C0, C1 and C2. Most mutations leave them alone: what lies behind them
// is where the parsers are.
const handshakeBytes = 1 + 2*1536

// mutate changes a session in one to eight places.
func mutate(rng *rand.Rand, session []byte) []byte {
	b := bytes.Clone(session)
	from := handshakeBytes
	if rng.IntN(20) == 0 {
		from = 0
	}
	// Half of the mutations go to the commands at the beginning.
	place := func() int {
		span := len(b) - from
		if rng.IntN(2) == 0 {
			span = min(span, 1024)
		}
		return from + rng.IntN(max(span, 1))
	}
	for range 1 + rng.IntN(8) {
		if len(b) <= from+16 {
			break
		}
		at := min(place(), len(b)-8)
		switch rng.IntN(8) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b[at] = byte(rng.Uint32())
		case 2:
			binary.BigEndian.PutUint32(b[at:], []uint32{0, 0xffffffff, 0x7fffffff, 0x80000000, 0xffffff, 1 << 24}[rng.IntN(6)])
		case 3: // an AMF0 strict array that claims to be huge
			copy(b[at:], []byte{10, 0x7f, 0xff, 0xff, 0xff})
		case 4:
			b = b[:at]
		case 5:
			b = append(b[:at], b[min(at+1+rng.IntN(64), len(b)):]...)
		case 6:
			end := min(at+1+rng.IntN(512), len(b))
			b = append(b[:end:end], b[at:]...)
		case 7:
			junk := make([]byte, 1+rng.IntN(64))
			for i := range junk {
				junk[i] = byte(rng.Uint32())
			}
			b = append(b[:at:at], append(junk, b[at:]...)...)
		}
	}
	return b
}

// attack sends a session as fast as it goes and reads what comes back until the server has
// had enough, or a moment has passed. It reports whether it got through to the server. The
// sessions come from many loopback addresses: one has too few ports for all of them.
func attack(ctx context.Context, rng *rand.Rand, address string, session []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	from := &net.TCPAddr{IP: net.IPv4(127, byte(1+rng.IntN(200)), byte(rng.IntN(256)), byte(1+rng.IntN(250)))}
	conn, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", address)
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return false
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn.Write(session)
		// What the server still wants to say comes within a moment.
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	})
	io.Copy(io.Discard, conn)
	conn.Close()
	wg.Wait()
	return true
}

// metric reads one metric without labels from the admin listener; 0 when there is none.
func (p *process) metric(t testing.TB, name string) int64 {
	for line := range strings.Lines(p.get(t.Context(), "http://"+p.admin+"/metrics")) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Errorf("metric %s: %v", name, err)
			}
			return int64(v)
		}
	}
	return 0
}
