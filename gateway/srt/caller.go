package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	srt "github.com/datarhei/gosrt"

	"klive/gateway"
	"klive/infra/live"
)

var (
	errGone = errors.New("the encoder's connection ended")
	errIdle = errors.New("nothing came in time")
)

// readSize holds the largest datagram: a message is at most one.
const readSize = 2048

// caller is one SRT connection.
type caller struct {
	server *Server
	req    srt.ConnRequest
	peer   string
	log    *slog.Logger

	conn srt.Conn
	pub  gateway.Publication
	feed *gateway.Transport

	heard    atomic.Int64 // when the last bytes came, in Unix nanoseconds
	started  atomic.Bool  // an access unit has come
	damaged  atomic.Uint64
	timedOut atomic.Bool

	mu   sync.Mutex // guards the field below
	link live.LinkStats
}

// serve decides on the request and reads the connection to its end.
func (c *caller) serve() {
	ctx, cancel := context.WithTimeout(c.server.ctx, c.server.cfg.Admission)
	to, err := c.admit(ctx)
	cancel()
	if err != nil {
		c.req.Reject(rejection(err))
		c.refused("SRT caller refused", err)
		return
	}
	if c.conn, err = c.req.Accept(); err != nil {
		c.server.metrics.refused.WithLabelValues(reasonAccept).Inc()
		c.log.Warn("SRT caller lost", "reason", reasonAccept, "text", "the connection could not be set up once the caller was let in; it calls again", "error", err)
		c.pub.Close(fmt.Errorf("%w: %w", errGone, err))
		c.pub = nil
		return
	}
	c.server.metrics.accepted.Inc()
	c.log.Debug("SRT caller let in", "stream", to.name, "encrypted", c.req.IsEncrypted())
	c.heard.Store(time.Now().UnixNano())
	c.finish(c.stream())
}

// stream reads the connection to its end, watched.
func (c *caller) stream() error {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(done) })
	defer watching.Wait()
	defer c.conn.Close()
	defer close(done)
	return c.read()
}

// admit lets the caller in as far as the gateway goes: c.pub is on the air afterwards.
func (c *caller) admit(ctx context.Context) (target, error) {
	to, err := parseStreamID(c.req.StreamId())
	if err != nil {
		return to, err
	}
	c.log = c.log.With("entry", to.params.Entry)
	gw := c.server.cfg.Gateway
	if to.anyPartner {
		if to.params.Partner, err = c.partner(ctx, to.params.Entry); err != nil {
			return to, err
		}
	}
	permit, err := gw.Connect(ctx, gateway.Connect{Protocol: "srt", Peer: c.peer, Params: to.params})
	if err != nil {
		return to, err
	}
	if err := c.unlock(permit.SRTPass()); err != nil {
		return to, err
	}
	c.pub, err = gw.Publish(ctx, permit, gateway.Publish{
		Name: to.name, Encoder: "SRT", Clock: gateway.TransportClock(), Link: c.stats,
	})
	if err != nil {
		return to, err
	}
	c.feed = gateway.NewTransport(c.pub)
	return to, nil
}

// partner asks whose an entry is.
func (c *caller) partner(ctx context.Context, entry string) (int, error) {
	if c.server.cfg.Partner == nil {
		return 0, refuseID("the stream id lacks the partner; set it to %s", example)
	}
	return c.server.cfg.Partner(ctx, entry)
}

// unlock holds the caller's encryption against the entry's passphrase.
func (c *caller) unlock(passphrase string) error {
	switch encrypted := c.req.IsEncrypted(); {
	case passphrase != "" && !encrypted:
		return errUnsecure
	case passphrase == "" && encrypted:
		return errPlain
	case passphrase == "":
		return nil
	}
	if c.req.SetPassphrase(passphrase) != nil {
		return errSecret
	}
	return nil
}

// read takes the stream until it ends.
func (c *caller) read() error {
	buf := make([]byte, readSize)
	for {
		n, err := c.conn.Read(buf)
		if n > 0 {
			c.heard.Store(time.Now().UnixNano())
			if _, err := c.feed.Write(buf[:n]); err != nil {
				return err
			}
			if !c.started.Load() && c.feed.Units() > 0 {
				c.started.Store(true)
			}
			c.damaged.Store(c.feed.Stats().Damaged)
		}
		if err != nil {
			return err
		}
	}
}

// watch ends the connection when the gateway or a time limit says so, and reads its figures.
func (c *caller) watch(done <-chan struct{}) {
	cfg := &c.server.cfg
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	begun := time.Now()
	for {
		select {
		case <-done:
			c.look()
			return
		case <-c.pub.Done():
			c.conn.Close()
			<-done
			return
		case <-c.server.ctx.Done():
			c.conn.Close()
			<-done
			return
		case now := <-tick.C:
			c.look()
			idle := now.Sub(time.Unix(0, c.heard.Load()))
			if idle > cfg.Idle || !c.started.Load() && now.Sub(begun) > cfg.Publish {
				c.timedOut.Store(true)
				c.conn.Close()
				<-done
				return
			}
		}
	}
}

// look reads the connection's figures.
func (c *caller) look() {
	var s srt.Statistics
	c.conn.Stats(&s)
	a := &s.Accumulated
	is := live.LinkStats{
		RTT: s.Instantaneous.MsRTT, Latency: float64(s.Instantaneous.MsRecvTsbPdDelay), Encrypted: c.req.IsEncrypted(),
		Received: a.PktRecv, Lost: a.PktRecvLoss, Retransmitted: a.PktRecvRetrans, Belated: a.PktRecvBelated,
		Dropped: a.PktRecvDrop, Undecrypted: a.PktRecvUndecrypt, Damaged: c.damaged.Load(),
	}
	c.mu.Lock()
	was := c.link
	c.link = is
	c.mu.Unlock()
	c.server.metrics.link(was, is)
}

// stats is the state of the connection for the feed's record.
func (c *caller) stats() live.LinkStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// finish ends the publication and says why.
func (c *caller) finish(err error) {
	if ended := c.pub.Err(); ended != nil {
		err = ended
	}
	cause := errGone
	var r *gateway.Refusal
	switch {
	case c.server.ctx.Err() != nil:
		cause = &gateway.Refusal{Reason: gateway.ReasonShutdown, Text: "this server is going down; connect again"}
	case errors.As(err, &r):
		c.refused("SRT publication ended", err)
		cause = err
	case c.timedOut.Load():
		cause = errIdle
		c.server.metrics.refused.WithLabelValues(reasonTimeout).Inc()
		c.log.Warn("SRT connection closed", "reason", reasonTimeout, "text", c.silence())
	case errors.Is(err, io.EOF):
		if f := c.feed.Flush(false); f == nil {
			cause = nil // it said goodbye, or as good as
		}
	}
	s := c.feed.Stats()
	if s.Continuity+s.Damaged+s.Malformed+s.Resyncs+s.ClockJumps > 0 {
		c.log.Info("the transport stream was not whole", "packets", s.Packets, "continuity errors", s.Continuity, "units left out", s.Damaged,
			"malformed", s.Malformed, "resyncs", s.Resyncs, "clock jumps", s.ClockJumps)
	}
	c.pub.Close(cause)
	c.pub = nil
}

// silence says what did not come.
func (c *caller) silence() string {
	if c.started.Load() {
		return fmt.Sprintf("nothing came for %v", c.server.cfg.Idle)
	}
	if c.feed.Program() == nil {
		return fmt.Sprintf("no MPEG transport stream came within %v", c.server.cfg.Publish)
	}
	return fmt.Sprintf("no picture and no sound came within %v; the stream needs a keyframe with parameter sets", c.server.cfg.Publish)
}

// abandon lets go of everything after a fault.
func (c *caller) abandon() {
	if c.conn != nil {
		c.conn.Close()
	}
	if c.pub != nil {
		c.pub.Close(errors.New("fault in the server"))
	}
}

// refused writes the line of a refusal.
func (c *caller) refused(what string, err error) {
	reason, told := "internal", false
	var r *gateway.Refusal
	var mode *refusedMode
	switch {
	case errors.As(err, &r):
		reason = string(r.Reason)
		told = r.Told
	case errors.As(err, &mode):
		reason = "mode"
	}
	c.server.metrics.refused.WithLabelValues(reason).Inc()
	args := []any{"reason", reason, "text", err.Error(), "code", uint32(rejection(err))}
	if r != nil && r.Err != nil {
		args = append(args, "error", r.Err)
	}
	level := slog.LevelDebug
	if !told {
		var repeats []any
		level, repeats = c.server.told.Loudness(reason, c.peer, what+" "+err.Error())
		args = append(args, repeats...)
	}
	c.log.Log(c.server.ctx, level, what, args...)
}
