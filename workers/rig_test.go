package workers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/check"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
	"klive/workers/packager"
	"klive/workers/registrar"
)

var (
	errDead  = errors.New("test: the process is dead")
	errLost  = errors.New("test: the answer was lost")
	errNever = errors.New("test: the request was lost")
)

// world is where processes run that can be killed, stopped and cut off: one bus, one media
// plane that keeps everything, one store that remembers every version.
type world struct {
	*house
	memory *storagetest.Memory
	procs  []*process
	logs   io.Writer // of the processes; nil for none

	// mu guards the fields below.
	mu       sync.Mutex
	versions []version
}

// version is one write that the store took.
type version struct {
	at   time.Time
	by   string
	key  string
	text string
}

func newWorld(t *testing.T) *world {
	w := &world{house: newHouse(t), memory: storagetest.NewMemory()}
	w.house.store = w.memory
	w.ring = bus.NewRing(bus.RingConfig{MaxAge: time.Hour})
	return w
}

// put writes to the store and remembers it. Both happen at one moment.
func (w *world) put(ctx context.Context, by, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := w.memory.Put(ctx, key, data, opt)
	if err == nil {
		v := version{at: time.Now(), by: by, key: key}
		for _, d := range data {
			v.text += string(d)
		}
		w.versions = append(w.versions, v)
	}
	return info, err
}

// process is a worker process. The gate stands before everything that it does outside itself.
type process struct {
	w       *world
	name    string
	control *bus.Control
	beats   *bus.Beats
	pool    *Pool
	cancel  context.CancelFunc
	done    chan struct{}
	ended   time.Time // when Run returned; valid once done is closed

	// mu guards the fields below.
	mu     sync.Mutex
	dead   bool
	cut    bool          // from the bus and the media plane
	parted time.Time     // when it was cut off last
	cuts   int           // connections made before the last cut are gone
	paused chan struct{} // closed when it goes on; nil while it runs
	noise  float64       // the share of writes that go wrong
	random *rand.Rand
}

// start runs a new process.
func (w *world) start(name string) *process {
	w.t.Helper()
	p := &process{w: w, name: name, done: make(chan struct{}), random: rand.New(rand.NewPCG(1, uint64(len(w.procs))))}
	ctx, cancel := context.WithCancel(w.t.Context())
	p.cancel = cancel
	fail := func(err error) {
		if err != nil {
			w.t.Fatalf("start %s: %v", name, err)
		}
	}
	var err error
	p.control, err = w.node.ConnectBy(ctx, name, p.dial)
	fail(err)
	feeds, err := p.control.Bucket(ctx, bus.BucketConfig{Name: live.FeedsBucket})
	fail(err)
	broadcasts, err := p.control.Bucket(ctx, bus.BucketConfig{Name: live.BroadcastsBucket})
	fail(err)
	log, err := buslog.Open(ctx, p.control)
	fail(err)
	p.beats, err = bus.StartBeats(ctx, p.control, bus.BeatsConfig{Name: name, Payload: p.payload})
	fail(err)
	var out io.Writer = io.Discard
	if testing.Verbose() && !check.Proving() {
		out = os.Stderr
	}
	if w.logs != nil {
		out = w.logs
	}
	pool, err := New(ctx, Config{
		Name: name, Control: p.control, Beats: p.beats, Feeds: feeds, Broadcasts: broadcasts, Media: gatedMedia{w.ring, p},
		Store: gatedStore{w.memory, p}, Timeline: gatedLog{log, p}, API: gatedAPI{w, p},
		Chapters: func(ctx context.Context, b string, c timeline.Chapter) ([]timeline.Item, error) {
			return timeline.LoadChapter(ctx, w.memory, b, c)
		},
		Packager: packager.Options{LiveGrace: time.Hour},
		Log:      slog.New(slog.NewTextHandler(out, nil)).With("worker", name),
	})
	fail(err)
	p.mu.Lock()
	p.pool = pool
	p.mu.Unlock()
	w.procs = append(w.procs, p)
	go func() {
		defer close(p.done)
		if err := pool.Run(ctx); err != nil {
			w.t.Errorf("%s: Run: %v", name, err)
		}
		p.ended = time.Now()
		p.beats.Close()
		p.control.Close()
	}()
	return p
}

func (p *process) payload() []byte {
	b := live.Beat{Name: p.name, Time: time.Now(), Ready: true}
	p.mu.Lock()
	pool := p.pool
	p.mu.Unlock()
	if pool != nil {
		var w live.WorkerBeat
		w, b.Draining = pool.Share()
		b.Worker = &w
	}
	data, err := b.Marshal()
	if err != nil {
		p.w.t.Error(err)
	}
	return data
}

// stop ends the process as SIGTERM does and waits for it.
func (p *process) stop() { p.cancel(); <-p.done }

// kill makes that nothing of the process has any effect any more.
func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	p.cuts++
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
	p.mu.Unlock()
	p.cancel()
}

// pause stops the process: what it sends and asks for waits until it goes on.
func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil && !p.dead {
		p.paused = make(chan struct{})
	}
}

func (p *process) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// part cuts the process off from the bus; join ends that.
func (p *process) part() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.parted = true, time.Now()
	p.cuts++
}

func (p *process) join() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *process) setNoise(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noise = share
}

// healthy reports whether nothing is wrong with the process.
func (p *process) healthy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
		return !p.dead && !p.cut && p.paused == nil
	}
}

// settled reports whether the process has also heard the bus long enough to act on silence.
func (p *process) settled() bool {
	p.mu.Lock()
	since := time.Since(p.parted)
	p.mu.Unlock()
	return p.healthy() && since > 3*time.Second && p.beats.Hearing() >= 3*time.Second
}

// pass waits while the process is stopped.
func (p *process) pass() error {
	for {
		p.mu.Lock()
		paused, dead := p.paused, p.dead
		p.mu.Unlock()
		if dead {
			return errDead
		}
		if paused == nil {
			return nil
		}
		<-paused
	}
}

// mishap is what happens to one write.
type mishap int

const (
	fine mishap = iota
	requestLost
	answerLost
	repeated // by the client: the second one finds the first one's effect
	late
	mishaps
)

func (p *process) mishap() mishap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.Float64() >= p.noise {
		return fine
	}
	return 1 + mishap(p.random.IntN(int(mishaps)-1))
}

// gatedStore is the store as the process reaches it.
type gatedStore struct {
	storage.Store
	p *process
}

func (s gatedStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	m := s.p.mishap()
	if m == late {
		time.Sleep(700 * time.Millisecond)
	}
	if err := s.p.pass(); err != nil {
		return storage.Info{}, err
	}
	if m == requestLost {
		return storage.Info{}, errNever
	}
	// A request that has left is carried out, whether its sender still waits or not.
	info, err := s.p.w.put(context.WithoutCancel(ctx), s.p.name, key, data, opt)
	if m == repeated && err == nil && (opt.IfAbsent || opt.IfMatch != "") {
		return storage.Info{}, storage.ErrPrecondition
	}
	if m == answerLost && err == nil {
		return storage.Info{}, errLost
	}
	if e := s.p.pass(); e != nil {
		return storage.Info{}, e
	}
	return info, err
}

func (s gatedStore) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := s.p.pass(); err != nil {
		return nil, storage.Info{}, err
	}
	body, info, err := s.Store.Get(ctx, key, r)
	if e := s.p.pass(); e != nil {
		return nil, info, e
	}
	return body, info, err
}

func (s gatedStore) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	if err := s.p.pass(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, prefix, after, limit)
}

func (s gatedStore) Delete(ctx context.Context, keys ...string) error {
	if err := s.p.pass(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, keys...)
}

// gatedAPI is Kaltura as the process reaches it.
type gatedAPI struct {
	registrar.API
	p *process
}

func (a gatedAPI) RegisterMediaServer(ctx context.Context, c registrar.Call) (live.EntryFacts, error) {
	if err := errors.Join(a.p.pass(), ctx.Err()); err != nil {
		return live.EntryFacts{}, err
	}
	return a.API.RegisterMediaServer(ctx, c)
}

func (a gatedAPI) UnregisterMediaServer(ctx context.Context, c registrar.Call) error {
	if err := errors.Join(a.p.pass(), ctx.Err()); err != nil {
		return err
	}
	return a.API.UnregisterMediaServer(ctx, c)
}

// gatedLog is the log as the process reaches it; its connection has the gate.
type gatedLog struct {
	timeline.Log
	p *process
}

func (l gatedLog) Append(ctx context.Context, subject, id string, data []byte, last uint64) (uint64, error) {
	m := l.p.mishap()
	if m == late {
		time.Sleep(500 * time.Millisecond)
	}
	if m == requestLost {
		return 0, errNever
	}
	seq, err := l.Log.Append(ctx, subject, id, data, last)
	if m == answerLost && err == nil {
		return 0, errLost
	}
	return seq, err
}

// gatedMedia is the media plane as the process reaches it. Like that of a cluster it drops
// nothing by request.
type gatedMedia struct {
	bus.Media
	p *process
}

func (gatedMedia) Release(string, uint64) {}

func (m gatedMedia) Follow(ctx context.Context, subject string, from uint64) (bus.Follower, error) {
	f, err := m.Media.Follow(ctx, subject, from)
	return gatedFollower{f, m.p}, err
}

type gatedFollower struct {
	bus.Follower
	p *process
}

func (f gatedFollower) Next(ctx context.Context) (bus.Message, error) {
	m, err := f.Follower.Next(ctx)
	for f.p.apart() && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	if e := f.p.pass(); e != nil {
		return m, e
	}
	return m, errors.Join(err, ctx.Err())
}

func (p *process) apart() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// dial connects the process to the bus, unless it is cut off, dead or stopped.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.mu.Lock()
	cuts, reachable := p.cuts, !p.cut && !p.dead && p.paused == nil
	p.mu.Unlock()
	if !reachable {
		return nil, errors.New("no route to host")
	}
	conn, err := p.w.node.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &gatedConn{Conn: conn, p: p, cuts: cuts, arrived: make(chan struct{}, 1), written: make(chan struct{}, 1), closed: make(chan struct{})}
	go c.receive()
	go c.send()
	return c, nil
}

// gatedConn is a connection of the process to the bus. Once cut it stays dead, and nobody is
// told. While the process is stopped, what it has written and what came for it waits in
// buffers, as in a kernel's: a blocking write, with the client library's locks held, would
// stop the bubble, and so would a server that can't write.
type gatedConn struct {
	net.Conn
	p       *process
	cuts    int
	arrived chan struct{} // 1: in or failed has news
	written chan struct{} // 1: out has news
	closed  chan struct{}
	once    sync.Once

	// mu guards the fields below.
	mu      sync.Mutex
	in, out []byte
	failed  error // of the last read
}

func (c *gatedConn) gone() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.cuts != c.p.cuts
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *gatedConn) receive() {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Conn.Read(b)
		c.mu.Lock()
		if !c.gone() {
			c.in = append(c.in, b[:n]...)
		}
		c.failed = err
		c.mu.Unlock()
		signal(c.arrived)
		if err != nil {
			return
		}
	}
}

func (c *gatedConn) Read(b []byte) (int, error) {
	for {
		select {
		case <-c.arrived:
		case <-c.closed:
			return 0, net.ErrClosed
		}
		stopped := c.p.pass() != nil || c.gone()
		c.mu.Lock()
		n, err := copy(b, c.in), c.failed
		c.in = c.in[n:]
		if len(c.in) > 0 || err != nil {
			signal(c.arrived)
		}
		c.mu.Unlock()
		if n > 0 && !stopped {
			return n, nil
		}
		if n == 0 && err != nil {
			return 0, err
		}
	}
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, b...)
	signal(c.written)
	return len(b), nil
}

func (c *gatedConn) send() {
	for {
		select {
		case <-c.written:
		case <-c.closed:
			return
		}
		if c.p.pass() != nil || c.gone() {
			continue
		}
		c.mu.Lock()
		out := c.out
		c.out = nil
		c.mu.Unlock()
		_, _ = c.Conn.Write(out) // an error shows at the next read
	}
}
