package rtmp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/media/flv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGateway records what it is asked and refuses what it is told to.
type fakeGateway struct {
	// connectErr and publishErr decide; nil accepts.
	connectErr func(gateway.Connect) error
	publishErr func(gateway.Publish) error
	// onWrite runs in each Write of a publication.
	onWrite func(gateway.AccessUnit) error

	// mu guards the fields below.
	mu        sync.Mutex
	connects  []gateway.Connect
	publishes []gateway.Publish
	pubs      []*fakePublication
}

func (g *fakeGateway) Connect(ctx context.Context, c gateway.Connect) (*gateway.Permit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connects = append(g.connects, c)
	if g.connectErr != nil {
		if err := g.connectErr(c); err != nil {
			return nil, err
		}
	}
	return &gateway.Permit{}, ctx.Err()
}

func (g *fakeGateway) Publish(_ context.Context, p *gateway.Permit, pub gateway.Publish) (gateway.Publication, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p == nil {
		panic("publish without a permit")
	}
	g.publishes = append(g.publishes, pub)
	if g.publishErr != nil {
		if err := g.publishErr(pub); err != nil {
			return nil, err
		}
	}
	f := &fakePublication{gw: g, done: make(chan struct{})}
	g.pubs = append(g.pubs, f)
	return f, nil
}

func (g *fakeGateway) pub(t *testing.T, i int) *fakePublication {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if i >= len(g.pubs) {
		t.Fatalf("%d publications, want number %d", len(g.pubs), i)
	}
	return g.pubs[i]
}

// fakePublication records what it is given.
type fakePublication struct {
	gw   *fakeGateway
	done chan struct{}

	// mu guards the fields below.
	mu     sync.Mutex
	err    error
	tracks []media.Track
	kinds  []media.Kind
	units  []gateway.AccessUnit
	closed int
	cause  error
}

func (p *fakePublication) SetTrack(t media.Track) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracks = append(p.tracks, t)
	return nil
}

func (p *fakePublication) Expect(kinds ...media.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds = append(p.kinds, kinds...)
}

func (p *fakePublication) Write(u gateway.AccessUnit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.units = append(p.units, u)
	if p.gw.onWrite != nil {
		return p.gw.onWrite(u)
	}
	return nil
}

func (p *fakePublication) Data(gateway.Datum) error { return nil }

func (p *fakePublication) Done() <-chan struct{} { return p.done }

func (p *fakePublication) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *fakePublication) Close(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	p.cause = cause
}

// end is what the gateway does on a kick.
func (p *fakePublication) end(err error) {
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.done)
}

func (p *fakePublication) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.units)
}

func (p *fakePublication) state() (closed int, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed, p.cause
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// pipeListener is a listener of net.Pipe connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// rig is a server on a pipe listener, inside a synctest bubble.
type rig struct {
	t      *testing.T
	server *Server
	listen *pipeListener
	gw     *fakeGateway
	log    *lockedBuffer
}

// inBubble runs f with a server in virtual time.
func inBubble(t *testing.T, configure func(*Config), f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, listen: newPipeListener(), gw: &fakeGateway{}, log: &lockedBuffer{}}
		cfg := Config{Listener: r.listen, Gateway: r.gw, Logger: slog.New(slog.NewTextHandler(r.log, nil))}
		if configure != nil {
			configure(&cfg)
		}
		var err error
		if r.server, err = NewServer(cfg); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- r.server.Serve(context.Background()) }()
		defer func() {
			if err := r.server.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, ErrClosed) {
				t.Errorf("Serve = %v", err)
			}
			if strings.Contains(r.log.String(), testToken) {
				t.Errorf("a token is in the log:\n%s", r.log)
			}
		}()
		f(r)
	})
}

// dial returns the client's end of a new connection.
func (r *rig) dial() net.Conn {
	here, there := net.Pipe()
	r.listen.conns <- there
	return here
}

// testClient is a raw RTMP client. What the server sends is gathered by a goroutine.
type testClient struct {
	t    testing.TB
	conn net.Conn
	size int

	// mu guards the fields below.
	mu   sync.Mutex
	got  []message
	gone error
	read chan struct{}
}

// client connects, shakes hands and begins to read.
func (r *rig) client() *testClient {
	r.t.Helper()
	c := newTestClient(r.t, r.dial())
	r.t.Cleanup(func() { c.conn.Close() })
	return c
}

func newTestClient(t testing.TB, conn net.Conn) *testClient {
	t.Helper()
	c := &testClient{t: t, conn: conn, size: defaultChunkSize, read: make(chan struct{})}
	c.write(append([]byte{3}, make([]byte, 1536)...))
	if _, err := io.ReadFull(conn, make([]byte, 1+2*1536)); err != nil {
		t.Fatal("handshake:", err)
	}
	c.write(make([]byte, 1536))
	go c.gather()
	return c
}

func (c *testClient) gather() {
	defer close(c.read)
	r := newChunkReader(bufio.NewReader(c.conn), Limits{MaxMessageSize: 1 << 20, MaxChunkStreams: 64, MaxMemoryPerConnection: 1 << 20}, func() {})
	for {
		m, err := r.next()
		if err == nil && m.typ == typeSetChunkSize {
			err = r.setChunkSize(uint32(m.body[0])<<24 | uint32(m.body[1])<<16 | uint32(m.body[2])<<8 | uint32(m.body[3]))
		}
		c.mu.Lock()
		if err != nil {
			c.gone = err
			c.mu.Unlock()
			return
		}
		c.got = append(c.got, m)
		c.mu.Unlock()
	}
}

func (c *testClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal("write:", err)
	}
}

func (c *testClient) send(m message) {
	c.t.Helper()
	id := byte(4)
	if m.typ <= typeSetPeerBandwidth {
		id = chunkStreamControl
	}
	c.write(appendChunks(nil, id, m, c.size))
}

func (c *testClient) command(stream uint32, name string, tx float64, args ...any) {
	c.t.Helper()
	c.send(commandMessage(stream, name, tx, args...))
}

// left reports whether the server has closed the connection.
func (c *testClient) left() bool {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone != nil
}

// commands returns the commands received so far, and forgets all messages.
func (c *testClient) commands() []command {
	c.t.Helper()
	synctest.Wait()
	return c.taken()
}

func (c *testClient) taken() []command {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []command
	for _, m := range c.got {
		if m.typ != typeCommandAMF0 {
			continue
		}
		cmd, err := parseCommand(m.body, 16)
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, cmd)
	}
	c.got = nil
	return list
}

// describe puts commands as "name code: description".
func describe(list []command) string {
	var lines []string
	for _, cmd := range list {
		line := cmd.name
		for _, a := range cmd.args {
			if o, ok := a.(*object); ok && o.get("code") != nil {
				line += fmt.Sprintf(" %v: %v", o.get("code"), o.get("description"))
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const (
	testToken = "s3cr3t"
	testQuery = "p=102&e=0_rkij47dr&i=0&t=" + testToken
	testApp   = "kLive/?" + testQuery
	testName  = "0_rkij47dr_1"
)

// publishing connects and publishes on stream 1 and sends the sequence headers.
func (c *testClient) publishing() {
	c.t.Helper()
	c.command(0, "connect", 1, &object{props: []property{{"app", testApp}, {"flashVer", "FMLE/3.0"}}})
	c.command(0, "createStream", 4, nil)
	c.command(1, "publish", 5, nil, testName, "live")
	c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(c.t)})
}

func sequenceHeader(t testing.TB) []byte {
	t.Helper()
	sps := []byte("\x67\x4d\x40\x1e\xec\xa0\x50\x17\xfc\xb8\x08\x80\x00\x01\xf4\x80\x00\x75\x30\x07\x8b\x16\xcb")
	p, err := media.NewH264([][]byte{sps}, [][]byte{[]byte("\x68\xeb\xe3\xcb\x20")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := flv.AppendSequence(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyframe is a video message with one IDR of n bytes.
func keyframe(time uint32, n int) message {
	body := []byte{0x17, 1, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0x65}
	return message{typ: typeVideo, stream: 1, time: time, body: append(body, make([]byte, n-1)...)}
}
