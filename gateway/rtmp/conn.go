package rtmp

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"klive/gateway"
)

var (
	// errRefused ends a connection whose peer has been told why.
	errRefused = errors.New("refused")
	// errShutdown ends a connection because the server closes.
	errShutdown = errors.New("this server is going down; connect again")
	// errGone is the cause of a publication whose encoder left without a word.
	errGone = errors.New("the encoder's connection ended without an unpublish")
	// errFault is the cause of a publication that ends by a fault in this program.
	errFault = errors.New("fault in the server")
)

const (
	// firstBuffer is what a connection reads into before it has something on the air, and
	// readBuffer from then on: only a stream is worth the memory.
	firstBuffer  = 4 << 10
	readBuffer   = 64 << 10
	outChunkSize = 4096
	// minWindow keeps a peer from asking for an acknowledgement of every byte.
	minWindow = 64 << 10
)

// conn is one connection. All of it belongs to the goroutine that runs serve; others only
// wake it.
type conn struct {
	cfg      *Config
	metrics  *metrics
	protocol string
	peer     string
	log      *slog.Logger
	told     *gateway.Refusals

	ctx    context.Context
	cancel context.CancelFunc
	// draining says that encoders that can are to be asked to connect elsewhere.
	draining *atomic.Bool

	net    *netConn
	reader *chunkReader
	writer chunkWriter
	engine dialogue
	// lastTx numbers our commands to the engine.
	lastTx float64

	// window and acked are the peer's acknowledgement window and what has been acknowledged.
	window, acked uint64

	client  client
	streams map[uint32]*stream
	// watchers are the goroutines that wait for the end of a publication.
	watchers sync.WaitGroup
}

// client is what connect has said.
type client struct {
	connected bool
	encoder   string
	query     string
	hint      string
	entry     string
	// permit is for permitQuery; nil when the publish must bring the parameters.
	permit      *gateway.Permit
	permitQuery string
	// reconnects says that it understands a request to reconnect; asked that it got one.
	reconnects, asked bool
}

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.watchers.Wait()
	defer c.net.conn.Close()
	defer c.cancel()
	err := c.guard(c.session)
	// The way out is guarded as well: it calls the same code.
	if err := c.guard(func() error { c.finish(err); return nil }); err != nil {
		c.log.Error("ending an RTMP connection failed", "error", err)
	}
	c.release()
}

// release lets go of what only a session needs. It may be called again.
func (c *conn) release() {
	c.engine.end()
	c.reader = nil
}

// guard runs f and turns a panic into an error: a fault costs one connection.
func (c *conn) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.metrics.panics.Inc()
			c.log.Error("fault while serving an RTMP connection", "panic", p, "stack", string(debug.Stack()))
			err = errFault
		}
	}()
	return f()
}

// session reads messages until the connection ends.
func (c *conn) session() error {
	c.net.await(c.cfg.Deadlines.Handshake, "handshake")
	if err := c.secure(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if err := shakeHands(c.net); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c.net.await(c.cfg.Deadlines.Publish, "connect")
	c.reader = newChunkReader(bufio.NewReaderSize(c.net, firstBuffer), c.cfg.Limits, func() { c.drop(dropAborted) })
	for {
		m, err := c.reader.next()
		if err != nil {
			return err
		}
		if err := c.handle(m); err != nil {
			return err
		}
		if err := c.acknowledge(); err != nil {
			return err
		}
	}
}

// secure does the TLS handshake of RTMPS.
func (c *conn) secure() error {
	t, ok := c.net.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := t.SetDeadline(c.net.stage); err != nil {
		return err
	}
	err := t.HandshakeContext(c.ctx)
	switch {
	case err == nil:
		return nil
	case c.ctx.Err() != nil:
		return errShutdown
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: no TLS handshake in time", errTimeout)
	case errors.Is(err, io.EOF):
		return err
	}
	return fmt.Errorf("%w: %w", errProtocol, err)
}

// acknowledge reports what has been received when half the peer's window is full.
func (c *conn) acknowledge() error {
	if c.reader.read-c.acked < c.window/2 {
		return nil
	}
	c.acked = c.reader.read
	return c.writer.write(controlMessage(typeAck, uint32(c.acked)))
}

func (c *conn) drop(kind string) { c.metrics.dropped.WithLabelValues(kind).Inc() }

// handle acts on one message.
func (c *conn) handle(m message) error {
	switch m.typ {
	case typeAudio, typeVideo:
		return c.media(m)
	case typeAggregate:
		return splitAggregate(m, c.handle)
	case typeCommandAMF3:
		// The byte before the command says that AMF0 follows; values may still switch to
		// AMF3, which is refused as any other unknown type.
		if len(m.body) == 0 {
			c.drop(dropEmpty)
			return nil
		}
		m.body = m.body[1:]
		return c.command(m)
	case typeCommandAMF0:
		return c.command(m)
	case typeDataAMF0:
		return c.data(m)
	case typeDataAMF3:
		c.drop(dropAMF3)
	case typeSharedAMF0, typeSharedAMF3:
		c.drop(dropShared)
	case typeSetChunkSize, typeAbort, typeAck, typeUserControl, typeWindowAck, typeSetPeerBandwidth:
		return c.control(m)
	default:
		c.drop(dropUnknown)
	}
	return nil
}

// control acts on a protocol control message (RTMP 1.0 §5.4, §7.1.7).
func (c *conn) control(m message) error {
	if m.typ == typeUserControl {
		return c.userControl(m)
	}
	if len(m.body) < 4 {
		return fmt.Errorf("%w: control message %d of %d bytes", errProtocol, m.typ, len(m.body))
	}
	v := binary.BigEndian.Uint32(m.body)
	switch m.typ {
	case typeSetChunkSize:
		return c.reader.setChunkSize(v)
	case typeAbort:
		c.reader.abort(v)
	case typeWindowAck:
		c.window = max(uint64(v), minWindow)
	}
	return nil
}

func (c *conn) userControl(m message) error {
	if len(m.body) < 2 {
		return fmt.Errorf("%w: user control message of %d bytes", errProtocol, len(m.body))
	}
	if binary.BigEndian.Uint16(m.body) != eventPingRequest || len(m.body) < 6 {
		return nil
	}
	body := binary.BigEndian.AppendUint16(nil, eventPingResponse)
	return c.writer.write(message{typ: typeUserControl, body: append(body, m.body[2:6]...)})
}

// onWake runs on the reading goroutine after another one has woken it.
func (c *conn) onWake() error {
	if c.ctx.Err() != nil {
		return errShutdown
	}
	if c.draining.Load() {
		if err := c.askReconnect(); err != nil {
			return err
		}
	}
	over := false
	for _, st := range c.streams {
		if st.over() {
			over = true
			if err := c.ended(st, st.pub.Err()); err != nil && !errors.Is(err, errRefused) {
				return err
			}
		}
	}
	if over && !c.publishing() {
		return errRefused
	}
	return nil
}

// askReconnect asks an encoder to connect again, where it can (Enhanced RTMP v2).
func (c *conn) askReconnect() error {
	if !c.client.reconnects || c.client.asked {
		return nil
	}
	c.client.asked = true
	return c.writer.write(statusMessage(0, "status", "NetConnection.Connect.ReconnectRequest", errShutdown.Error()))
}

// finish tells the peer why the connection ends, where it does not know, and ends what is
// still on the air.
func (c *conn) finish(err error) {
	reason := endReason(err)
	if reason != "" {
		c.metrics.refused.WithLabelValues(reason).Inc()
		level, repeats := c.told.Loudness(reason, c.peer, reason)
		c.log.Log(c.ctx, level, "RTMP connection closed", append([]any{"entry", c.client.entry, "peer", c.peer, "reason", reason, "error", err}, repeats...)...)
	} else {
		c.log.Debug("RTMP connection ended", "entry", c.client.entry, "peer", c.peer, "error", err)
	}
	cause := errGone
	switch {
	case errors.Is(err, errShutdown):
		cause = asRefusal(err)
	case reason != "":
		cause = err
	}
	for _, st := range c.streams {
		if st.pub == nil {
			continue
		}
		if errors.Is(err, errShutdown) {
			_ = c.writer.write(statusMessage(st.id, "status", codeUnpublished, errShutdown.Error()))
		}
		c.unpublish(st, cause)
	}
	c.farewell(err, reason)
}

// farewell tells the peer about an end that it does not know of yet, and gives it the time
// to read it.
func (c *conn) farewell(err error, reason string) {
	told := errors.Is(err, errRefused) || errors.Is(err, errShutdown)
	if errors.Is(err, errStuck) || !told && reason == "" {
		return
	}
	if !told && c.client.connected {
		if c.writer.write(statusMessage(0, "error", "NetConnection.Connect.Closed", err.Error())) != nil {
			return
		}
	}
	// Many linger at one time when something connects over and over.
	c.release()
	c.net.linger()
}

// endReason classifies the error that ended a connection; empty when the peer ended it, or
// has been told already.
func endReason(err error) string {
	switch {
	case errors.Is(err, errTimeout):
		return reasonTimeout
	case errors.Is(err, errLimit), errors.Is(err, errAMFLimit):
		return reasonBounds
	case errors.Is(err, errProtocol), errors.Is(err, errAMF):
		return reasonProtocol
	case errors.Is(err, errFault), errors.Is(err, errEngine):
		return reasonFault
	}
	return ""
}
