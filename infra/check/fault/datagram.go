package fault

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Weather is how a datagram relay treats the datagrams of one direction.
type Weather struct {
	// Loss is the share of datagrams that get lost, 0 to 1.
	Loss float64
	// Delay is how much later each arrives, Jitter by how much more or less. They stay in order.
	Delay, Jitter time.Duration
	// Overtake is the share of datagrams that arrive late enough for those behind them to pass:
	// by up to Late.
	Overtake float64
	Late     time.Duration
	// Mutate is the share of datagrams in which some bytes are changed, or which are cut.
	Mutate float64
}

// DatagramRelay is a UDP relay before a server. It stands at one loopback address until the
// test ends. What gets lost is a function of the seed and of what comes.
type DatagramRelay struct {
	target *net.UDPAddr
	front  *net.UDPConn
	wg     sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	up, down Weather
	random   *rand.Rand
	clients  map[string]*client
	closed   bool
	passed   int
	lost     int
}

// client is one that has sent something, with its own way to the target.
type client struct {
	back     *net.UDPConn
	up, down *delayed
	heard    time.Time
}

func (c *client) end() {
	c.back.Close()
	c.up.end()
	c.down.end()
}

// maxDatagram holds the largest datagram. Of more than maxClients the one that has been silent
// for longest is forgotten.
const (
	maxDatagram = 2048
	maxClients  = 64
)

// NewDatagramRelay stands before target, host:port.
func NewDatagramRelay(t testing.TB, target string, up, down Weather) *DatagramRelay {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = front.SetReadBuffer(4 << 20)
	r := &DatagramRelay{
		target: to, front: front, up: up, down: down, random: rand.New(rand.NewPCG(20, 26)), clients: map[string]*client{},
	}
	r.wg.Go(r.serve)
	t.Cleanup(r.close)
	return r
}

// Addr is where the relay stands.
func (r *DatagramRelay) Addr() string { return r.front.LocalAddr().String() }

// Set changes both directions: up is from the client to the server.
func (r *DatagramRelay) Set(up, down Weather) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.down = up, down
}

// Count returns how many datagrams came through, and how many got lost, both ways.
func (r *DatagramRelay) Count() (passed, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed, r.lost
}

func (r *DatagramRelay) close() {
	r.mu.Lock()
	r.closed = true
	for _, c := range r.clients {
		c.end()
	}
	r.mu.Unlock()
	r.front.Close()
	r.wg.Wait()
}

// serve takes the clients' datagrams.
func (r *DatagramRelay) serve() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := r.front.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if c := r.client(from); c != nil {
			r.pass(c.up, buf[:n], true)
		}
	}
}

// client finds the client at an address, or opens its way, both ways; nil when it can't.
func (r *DatagramRelay) client(from *net.UDPAddr) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[from.String()]
	if c == nil && !r.closed {
		c = r.connect(from)
	}
	if c != nil {
		c.heard = time.Now()
	}
	return c
}

// connect opens the way of a client. The caller holds r.mu.
func (r *DatagramRelay) connect(from *net.UDPAddr) *client {
	if len(r.clients) >= maxClients {
		oldest := ""
		for name, c := range r.clients {
			if oldest == "" || c.heard.Before(r.clients[oldest].heard) {
				oldest = name
			}
		}
		r.clients[oldest].end()
		delete(r.clients, oldest)
	}
	back, err := net.DialUDP("udp", nil, r.target)
	if err != nil {
		return nil
	}
	_ = back.SetReadBuffer(4 << 20)
	c := &client{back: back}
	c.up = newDelayed(func(b []byte) { _, _ = back.Write(b) })
	c.down = newDelayed(func(b []byte) { _, _ = r.front.WriteToUDP(b, from) })
	r.clients[from.String()] = c
	r.wg.Go(c.up.run)
	r.wg.Go(c.down.run)
	r.wg.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, err := back.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				r.pass(c.down, buf[:n], false)
			}
		}
	})
	return c
}

// pass decides what becomes of a datagram.
func (r *DatagramRelay) pass(q *delayed, b []byte, up bool) {
	r.mu.Lock()
	w := r.down
	if up {
		w = r.up
	}
	if r.random.Float64() < w.Loss {
		r.lost++
		r.mu.Unlock()
		return
	}
	r.passed++
	at := time.Now().Add(w.Delay + time.Duration((2*r.random.Float64()-1)*float64(w.Jitter)))
	overtaken := r.random.Float64() < w.Overtake
	late := time.Duration(r.random.Float64() * float64(w.Late))
	b = append([]byte(nil), b...)
	if r.random.Float64() < w.Mutate {
		b = r.mutate(b)
	}
	r.mu.Unlock()
	q.add(b, at, late, overtaken)
}

// mutate changes up to eight bytes, or cuts the datagram. The caller holds r.mu.
func (r *DatagramRelay) mutate(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	if r.random.IntN(4) == 0 {
		return b[:r.random.IntN(len(b))]
	}
	for range 1 + r.random.IntN(8) {
		b[r.random.IntN(len(b))] = byte(r.random.Uint32())
	}
	return b
}

// delayed sends datagrams when they are due.
type delayed struct {
	send func([]byte)
	wake chan struct{}

	mu    sync.Mutex // guards the fields below
	heap  dueHeap
	count int
	last  time.Time // when the newest one that was not overtaken is due
	ended bool
}

type due struct {
	at    time.Time
	order int
	b     []byte
}

func newDelayed(send func([]byte)) *delayed {
	return &delayed{send: send, wake: make(chan struct{}, 1)}
}

func (d *delayed) add(b []byte, at time.Time, late time.Duration, overtaken bool) {
	d.mu.Lock()
	if at.Before(d.last) {
		at = d.last
	}
	if overtaken {
		at = at.Add(late)
	} else {
		d.last = at
	}
	d.count++
	heap.Push(&d.heap, due{at, d.count, b})
	d.mu.Unlock()
	d.rouse()
}

func (d *delayed) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delayed) end() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.rouse()
}

func (d *delayed) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.mu.Lock()
		if d.ended {
			d.mu.Unlock()
			return
		}
		wait := time.Hour
		var now []due
		for len(d.heap) > 0 {
			if wait = time.Until(d.heap[0].at); wait > 0 {
				break
			}
			now = append(now, heap.Pop(&d.heap).(due))
			wait = time.Hour
		}
		d.mu.Unlock()
		for _, p := range now {
			d.send(p.b)
		}
		if len(now) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-d.wake:
		}
	}
}

// dueHeap has the datagram that is due first at its top.
type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
