package rtmp

import (
	"fmt"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media/flv"
)

// stream is a message stream that createStream gave out.
type stream struct {
	id uint32
	// engaged says that the engine has it publishing; it can't take a second publish.
	engaged bool

	// The publication, nil while there is none, and what belongs to it.
	pub    gateway.Publication
	name   string
	permit *gateway.Permit
	closed chan struct{}
	video  flv.VideoParser
	audio  [maxAudio]audioTrack
	// more are the video tracks beyond the first (Enhanced RTMP v2): publications of their own.
	more map[byte]*videoTrack
	// bad counts malformed tags since the last sound one; told says that the log has the first.
	bad  int
	told bool
}

// over reports whether the gateway has ended the publication.
func (st *stream) over() bool {
	if st.pub == nil {
		return false
	}
	select {
	case <-st.pub.Done():
		return true
	default:
		return false
	}
}

// publishing reports whether anything is on the air.
func (c *conn) publishing() bool {
	for _, st := range c.streams {
		if st.pub != nil {
			return true
		}
	}
	return false
}

// publish puts a stream on the air (RTMP 1.0 §7.2.2.6, contract §6.3).
func (c *conn) publish(id uint32, cmd command) error {
	st := c.streams[id]
	if st == nil {
		return c.refusePublish(id, codeBadName, &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf("publish on message stream %d, which createStream did not give out", id)})
	}
	if st.pub != nil {
		return c.refusePublish(id, codeBadName, &gateway.Refusal{Reason: gateway.ReasonBusy, Text: "this message stream publishes already; create another one"})
	}
	name, query := splitName(cmd.text(1))
	if name == "" {
		name, _ = splitName(c.client.hint)
	}
	if c.client.entry == "" {
		c.client.entry = entryOf(name)
	}
	permit, err := c.permitFor(query)
	if err != nil {
		return c.refusePublish(id, codeRejected, err)
	}
	if name == "" {
		return c.refusePublish(id, codeBadName, &gateway.Refusal{Reason: gateway.ReasonParams, Text: "the stream has no name; use <entry>_1 as stream name or key"})
	}
	// This may wait for another publish of the name to fall silent.
	c.engine.rest()
	pub, err := c.cfg.Gateway.Publish(c.ctx, permit, gateway.Publish{
		Name: name, Encoder: c.client.encoder, Clock: gateway.SourceClock{Rate: 1000, Bits: 32},
	})
	if err != nil {
		code := codeRejected
		if r := asRefusal(err); r.Reason == gateway.ReasonParams || r.Reason == gateway.ReasonBusy {
			code = codeBadName
		}
		return c.refusePublish(id, code, err)
	}
	*st = stream{id: id, engaged: st.engaged, pub: pub, name: name, permit: permit, closed: make(chan struct{})}
	c.watch(st)
	c.net.awaitNothing()
	c.reader.widen(readBuffer)
	c.log.Debug("RTMP publish", "entry", c.client.entry, "stream", gateway.Printable(name, 64), "peer", c.peer, "encoder", c.client.encoder)
	return c.started(st, cmd)
}

// permitFor returns the permit for a publish whose name brought a query.
func (c *conn) permitFor(query string) (*gateway.Permit, error) {
	if c.client.permit != nil && (query == "" || c.client.permitQuery == c.client.query) {
		return c.client.permit, nil
	}
	joined := joinQuery(c.client.query, query)
	if joined == "" {
		return nil, noParams(c.cfg.App)
	}
	return c.admit(joined)
}

// started answers a publish.
func (c *conn) started(st *stream, cmd command) error {
	if st.engaged {
		return c.writer.write(statusMessage(st.id, "status", codeStart, "Publish succeeded."))
	}
	st.engaged = true
	defer c.engine.settle()
	return c.ask(st.id, cmd, true, nil, nil, "stream", "live")
}

// refusePublish answers a publish with an error. The connection ends unless something else
// is on the air on it (contract row 29).
func (c *conn) refusePublish(id uint32, code string, err error) error {
	r := asRefusal(err)
	c.logRefusal("RTMP publish refused", "", r)
	if err := c.writer.write(statusMessage(id, "error", code, r.Text)); err != nil {
		return err
	}
	if c.publishing() {
		return nil
	}
	return errRefused
}

// watch wakes the reading goroutine when the gateway ends the publication.
func (c *conn) watch(st *stream) {
	done, closed := st.pub.Done(), st.closed
	c.watchers.Go(func() {
		select {
		case <-done:
			c.net.wake()
		case <-closed:
		}
	})
}

// unpublish ends a publication.
func (c *conn) unpublish(st *stream, cause error) {
	pub, more := st.pub, st.more
	close(st.closed)
	*st = stream{id: st.id, engaged: st.engaged}
	pub.Close(cause)
	for _, v := range more {
		v.end(cause)
	}
}

// ended tells the encoder that its publication is over, and why.
func (c *conn) ended(st *stream, err error) error {
	r := asRefusal(err)
	c.logRefusal("RTMP publication ended", "", r)
	c.unpublish(st, err)
	level, code := "error", codeRejected
	if r.Reason == gateway.ReasonShutdown {
		level, code = "status", codeUnpublished
	}
	if err := c.writer.write(statusMessage(st.id, level, code, r.Text)); err != nil {
		return err
	}
	if c.publishing() {
		return nil
	}
	return errRefused
}

// entryOf names the entry of a stream name for the log; empty when it is no such name.
func entryOf(name string) string {
	entry, _, err := live.ParseStreamName(name)
	if err != nil {
		return ""
	}
	return entry
}
