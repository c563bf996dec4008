package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/sirupsen/logrus"
	gortmp "github.com/yutopp/go-rtmp"
	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

const (
	// handshakeSize is C0, C1 and C2 (RTMP 1.0 §5.2).
	handshakeSize = 1 + 1536 + 1536
	// engineBuffer is the size of each of the library's buffers for an engine, in bytes.
	engineBuffer = 512
	// windowSize is the acknowledgement window and peer bandwidth that we announce, in bytes.
	windowSize = 2_500_000
	// maxMessageStreams bounds createStream.
	maxMessageStreams = 8
	// serverName and serverCapabilities are what servers have answered since Flash.
	serverName         = "FMS/3,5,7,7009"
	serverCapabilities = 31
)

// errEngine is returned when go-rtmp ends a session by itself.
var errEngine = errors.New("the session's state machine has ended")

// engines runs go-rtmp's server over connections that exist in memory only.
type engines struct {
	server *gortmp.Server
	calls  *engineListener
	ended  chan struct{}
}

func newEngines() *engines {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	quiet.SetLevel(logrus.PanicLevel)
	e := &engines{calls: newEngineListener(), ended: make(chan struct{})}
	e.server = gortmp.NewServer(&gortmp.ServerConfig{OnConnect: func(c net.Conn) (io.ReadWriteCloser, *gortmp.ConnConfig) {
		return c.(engineConn).engine, engineConfig(quiet)
	}})
	go func() {
		defer close(e.ended)
		// It returns when close is called, with ErrClosed.
		_ = e.server.Serve(e.calls)
	}()
	return e
}

func (e *engines) close() {
	// Only fails when closing the listener does, and that can't.
	_ = e.server.Close()
	<-e.ended
}

func engineConfig(quiet logrus.FieldLogger) *gortmp.ConnConfig {
	return &gortmp.ConnConfig{
		// It reads and writes nothing but short commands.
		ReaderBufferSize:          engineBuffer,
		WriterBufferSize:          engineBuffer,
		Handler:                   &gortmp.DefaultHandler{},
		SkipHandshakeVerification: true,
		Logger:                    quiet,
		RPreset: &gortmp.DefaultResponsePreset{
			ServerConnectResultProperties: rtmpmsg.NetConnectionConnectResultProperties{
				FMSVer: serverName, Capabilities: serverCapabilities, Mode: 1,
			},
		},
		ControlState: gortmp.StreamControlStateConfig{
			// One chunk per message in both directions.
			DefaultChunkSize:           maxChunkSize,
			MaxChunkStreams:            8,
			DefaultAckWindowSize:       windowSize,
			DefaultBandwidthWindowSize: windowSize,
			DefaultBandwidthLimitType:  rtmpmsg.LimitTypeDynamic,
			MaxMessageStreams:          1 + maxMessageStreams,
		},
	}
}

// engine is the session of one connection in go-rtmp. It is the library's "network": what
// the library reads are commands that we have checked and written anew, what it writes is
// kept for us to send.
type engine struct {
	in   chan []byte
	idle chan struct{}
	stop chan struct{}
	done chan struct{}
	once sync.Once

	// Of the library's reading goroutine: the rest of the message it reads, and how much
	// of the handshake it still expects.
	rest  []byte
	greet int

	wrote chan struct{}
	// mu guards the fields below.
	mu      sync.Mutex
	ungreet int
	out     bytes.Buffer
	reader  *chunkReader
	replies []message
	err     error
}

// start begins a session.
func (e *engines) start() (*engine, error) {
	s := &engine{
		in: make(chan []byte), idle: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
		wrote: make(chan struct{}, 1), greet: handshakeSize, ungreet: handshakeSize,
	}
	limits := Limits{MaxMessageSize: maxCommand, MaxChunkStreams: 4, MaxMemoryPerConnection: 2 * maxCommand}
	s.reader = newChunkReader(bufio.NewReaderSize(&s.out, engineBuffer), limits, func() {})
	s.reader.chunkSize = maxChunkSize
	select {
	case e.calls.conns <- engineConn{engine: s}:
	case <-e.calls.closed:
		return nil, net.ErrClosed
	}
	select {
	case <-s.idle:
		return s, nil
	case <-s.done:
		return nil, errEngine
	}
}

// exchange shows the library a command and returns when it has handled it; with answer
// set, not before it has answered. The answers, with what goes along with them, are returned.
func (s *engine) exchange(m message, answer bool) ([]message, error) {
	chunk := appendChunks(nil, chunkStreamCommand, m, maxChunkSize)
	select {
	case s.in <- chunk:
	case <-s.done:
		return nil, errEngine
	}
	select {
	case <-s.idle:
	case <-s.done:
		return nil, errEngine
	}
	for {
		if got, err := s.take(answer); got != nil || err != nil || !answer {
			return got, err
		}
		select {
		case <-s.wrote:
		case <-s.done:
			return nil, errEngine
		}
	}
}

// take returns what the library has written; with answer set only once there is a command.
func (s *engine) take(answer bool) ([]message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if n := len(s.replies); answer && (n == 0 || s.replies[n-1].typ != typeCommandAMF0) {
		return nil, nil
	}
	got := s.replies
	s.replies = nil
	return got, nil
}

// end closes the session and waits for it.
func (s *engine) end() {
	close(s.stop)
	<-s.done
}

// Read gives the library a handshake, then the messages of exchange.
func (s *engine) Read(p []byte) (int, error) {
	if s.greet > 0 {
		n := min(len(p), s.greet)
		clear(p[:n])
		s.greet -= n
		return n, nil
	}
	if len(s.rest) == 0 {
		select {
		case s.idle <- struct{}{}:
		case <-s.stop:
			return 0, io.EOF
		}
		select {
		case s.rest = <-s.in:
		case <-s.stop:
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Write takes the library's messages apart again. It flushes after each, so that one call
// holds one or more whole messages.
func (s *engine) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := p
	if s.ungreet > 0 {
		n := min(len(rest), s.ungreet)
		s.ungreet -= n
		rest = rest[n:]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	if err := s.parse(rest); err != nil {
		s.err = err
		return 0, err
	}
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// parse reads whole messages of the library, whose headers lean on earlier ones.
func (s *engine) parse(b []byte) error {
	s.out.Write(b)
	for {
		m, err := s.reader.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answer of the session's state machine: %w", err)
		}
		s.replies = append(s.replies, m)
	}
}

// Close is called by the library, as the last thing that it does to a session.
func (s *engine) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// engineConn carries an engine through the library's listener. The library closes and reads
// the engine itself and never touches the net.Conn.
type engineConn struct {
	net.Conn
	engine *engine
}

// engineListener is a net.Listener without a network.
type engineListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newEngineListener() *engineListener {
	return &engineListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *engineListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *engineListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *engineListener) Addr() net.Addr { return &net.UnixAddr{Name: "go-rtmp", Net: "memory"} }
