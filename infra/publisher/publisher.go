package publisher

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Config says where and how to publish.
type Config struct {
	// URL is rtmp:// or rtmps://host[:port]/app, with broadcast parameters and, when Name is
	// empty, with the stream name behind its last slash.
	URL string
	// Name is the stream name; it may carry a query of its own.
	Name string
	// DialContext opens the connection; nil means TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for rtmps; nil verifies the server against the system's certificates.
	TLS *tls.Config
	// ChunkSize is the size of the chunks that the publisher sends, in bytes; 0 means 4096.
	ChunkSize int
	// Encoder is the name that the publisher gives itself; empty means "klive".
	Encoder string
	// Timeout bounds the connection's start and each write; 0 means 10 s.
	Timeout time.Duration
}

// RefusedError is a server's no to a command, or the end that it announced to a stream.
type RefusedError struct {
	// Command is what was refused ("connect", "createStream", "publish"), or "onStatus" when
	// the server ended a stream that was on the air.
	Command string
	// Code and Description are the server's: "NetConnection.Connect.Rejected" and its reason.
	Code, Description string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the server refused %s: %s (%s)", e.Command, e.Description, e.Code)
}

// Publisher is one stream being published. Its Write methods must not be called at the
// same time by several goroutines.
type Publisher struct {
	conn    net.Conn
	timeout time.Duration
	stream  uint32
	addr    address

	mu  sync.Mutex // guards the field below
	out chunkWriter

	waitMu  sync.Mutex // guards the field below
	waiting call

	replies chan reply
	done    chan struct{}
	err     error // set before done is closed
	wg      sync.WaitGroup
}

// Dial connects and publishes. When it returns without error the server takes media. A
// refusal is a *RefusedError.
func Dial(ctx context.Context, cfg Config) (*Publisher, error) {
	addr, err := parseAddress(cfg.URL, cfg.Name)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.ChunkSize == 0 {
		cfg.ChunkSize = 4096
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	conn, err := open(ctx, cfg, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := handshake(conn); err != nil {
		conn.Close()
		return nil, whyClosed(ctx, fmt.Errorf("RTMP handshake with %s: %w", addr.host, err))
	}
	p := &Publisher{
		conn: conn, timeout: cfg.Timeout, addr: addr,
		replies: make(chan reply, 1), done: make(chan struct{}),
	}
	_, p.out.vector = conn.(*net.TCPConn)
	p.out.conn, p.out.chunkSize = conn, 128
	p.wg.Go(p.read)
	if err := p.start(ctx, cfg); err != nil {
		p.abort()
		return nil, whyClosed(ctx, err)
	}
	return p, nil
}

func open(ctx context.Context, cfg Config, addr address) (net.Conn, error) {
	dial := cfg.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", addr.host)
	if err != nil {
		return nil, fmt.Errorf("connect to the RTMP server: %w", err)
	}
	if !addr.secure {
		return conn, nil
	}
	tc := cfg.TLS.Clone()
	if tc == nil {
		tc = &tls.Config{}
	}
	if tc.ServerName == "" {
		tc.ServerName = addr.server
	}
	secure := tls.Client(conn, tc)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr.host, err)
	}
	return secure, nil
}

// whyClosed prefers the deadline over the read error that it causes.
func whyClosed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// WriteMeta sends @setDataFrame onMetaData with the given properties.
func (p *Publisher) WriteMeta(properties []Property) error {
	b := appendAMF(nil, "@setDataFrame", "onMetaData")
	b = append(b, amfECMAArray)
	b = binary.BigEndian.AppendUint32(b, uint32(len(properties)))
	b = appendAMFProperties(b, properties)
	return p.write(csidData, msgDataAMF0, 0, b)
}

// WriteVideo sends one video message. The pieces together are the FLV VIDEODATA (FLV 10.1
// §E.4.3); they are neither kept nor changed. timestamp is in ms and wraps at 32 bits.
func (p *Publisher) WriteVideo(timestamp uint32, pieces ...[]byte) error {
	return p.write(csidVideo, msgVideo, timestamp, pieces...)
}

// WriteAudio sends one audio message, an FLV AUDIODATA in pieces; see [Publisher.WriteVideo].
func (p *Publisher) WriteAudio(timestamp uint32, pieces ...[]byte) error {
	return p.write(csidAudio, msgAudio, timestamp, pieces...)
}

func (p *Publisher) write(csid, typeID uint8, timestamp uint32, pieces ...[]byte) error {
	return p.send(csid, typeID, p.stream, timestamp, pieces...)
}

func (p *Publisher) send(csid, typeID uint8, stream, timestamp uint32, pieces ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.SetWriteDeadline(time.Now().Add(p.timeout))
	if err := p.out.write(csid, typeID, stream, timestamp, pieces...); err != nil {
		return p.reason(err)
	}
	return nil
}

// reason prefers what the server said over the write error that its closing caused. The
// server's words may still be on the way when a write fails.
func (p *Publisher) reason(err error) error {
	select {
	case <-p.done:
	case <-time.After(200 * time.Millisecond):
	}
	if refused, ok := errors.AsType[*RefusedError](p.Err()); ok {
		return refused
	}
	return err
}

// Done is closed when the server has ended the stream or the connection; Err then says why.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err is nil until Done is closed. It is a *RefusedError when the server gave a reason.
func (p *Publisher) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close ends the stream in order (FCUnpublish, deleteStream) and closes the connection.
func (p *Publisher) Close() error {
	err := p.command(0, "FCUnpublish", 0, nil, p.addr.name)
	if err == nil {
		err = p.command(0, "deleteStream", 0, nil, float64(p.stream))
	}
	p.abort()
	return err
}

// Abort closes the connection without a word, as a pulled cable does.
func (p *Publisher) Abort() { p.abort() }

func (p *Publisher) abort() {
	p.conn.Close()
	p.wg.Wait()
}

// read handles what the server sends until the connection ends.
func (p *Publisher) read() {
	defer close(p.done)
	r := newChunkReader(p.conn)
	for {
		m, err := r.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server closed the connection")
			}
			p.err = err
			return
		}
		if err := p.handle(m); err != nil {
			p.err = err
			return
		}
	}
}

// Events of user control messages (RTMP 1.0 §7.1.7).
const (
	eventPing = 6
	eventPong = 7
)

func (p *Publisher) handle(m message) error {
	switch m.typeID {
	case msgUserControl:
		if len(m.payload) >= 6 && binary.BigEndian.Uint16(m.payload) == eventPing {
			pong := append([]byte{0, eventPong}, m.payload[2:6]...)
			return p.send(csidControl, msgUserControl, 0, 0, pong)
		}
	case msgCommandAMF0:
		values, err := readAMF(m.payload)
		if err != nil || len(values) < 2 {
			return fmt.Errorf("the server sent a command that can't be read: %w", errors.Join(errAMF, err))
		}
		name, _ := values[0].(string)
		id, _ := values[1].(float64)
		return p.dispatch(reply{name, id, values[2:]})
	}
	return nil
}
