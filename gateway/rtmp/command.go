package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"klive/gateway"
)

// The codes of the refusals and of an end in order.
const (
	codeConnectRejected = "NetConnection.Connect.Rejected"
	codeBadName         = "NetStream.Publish.BadName"
	codeRejected        = "NetStream.Publish.Rejected"
	codeStart           = "NetStream.Publish.Start"
	codeUnpublished     = "NetStream.Unpublish.Success"
	codePlayFailed      = "NetStream.Play.Failed"
)

// command acts on a command message.
func (c *conn) command(m message) error {
	cmd, err := parseCommand(m.body, c.cfg.Limits.MaxAMFDepth)
	if err != nil {
		return err
	}
	if !c.client.connected && cmd.name != "connect" {
		return fmt.Errorf("%w: command %.32q before connect", errProtocol, cmd.name)
	}
	switch cmd.name {
	case "connect":
		return c.connect(cmd)
	case "createStream":
		return c.createStream(cmd)
	case "releaseStream", "FCPublish":
		return c.announce(cmd)
	case "publish":
		return c.publish(m.stream, cmd)
	case "FCUnpublish":
		return c.stopNamed(cmd)
	case "closeStream":
		return c.stop(c.streams[m.stream])
	case "deleteStream":
		return c.deleteStream(cmd)
	case "play", "play2":
		return c.refusePlay(m.stream, cmd)
	}
	// Answers to questions we never asked are among them.
	c.drop(dropUnknown)
	return nil
}

// ask shows a command to the engine and relays its answer under the client's transaction.
func (c *conn) ask(stream uint32, cmd command, answer bool, amend func(*command), args ...any) error {
	c.lastTx++
	replies, err := c.engine.exchange(commandMessage(stream, cmd.name, c.lastTx, args...), answer)
	if err != nil {
		return err
	}
	for _, r := range replies {
		switch r.typ {
		case typeCommandAMF0:
			reply, err := parseCommand(r.body, c.cfg.Limits.MaxAMFDepth)
			if err != nil {
				return fmt.Errorf("%w: %w", errEngine, err)
			}
			if reply.name != "onStatus" {
				reply.tx = cmd.tx
			}
			if amend != nil {
				amend(&reply)
			}
			r = commandMessage(r.stream, reply.name, reply.tx, reply.args...)
		case typeAck:
			continue
		}
		if err := c.writer.write(r); err != nil {
			return err
		}
	}
	return nil
}

// connect handles the first command (RTMP 1.0 §7.2.1.1, contract §6.2).
func (c *conn) connect(cmd command) error {
	if c.client.connected {
		c.drop(dropUnknown)
		return nil
	}
	if len(cmd.args) == 0 {
		return fmt.Errorf("%w: connect without a command object", errProtocol)
	}
	props, ok := cmd.args[0].(*object)
	if !ok {
		return fmt.Errorf("%w: connect without a command object", errProtocol)
	}
	// Fields of a wrong type are as good as absent.
	text := func(key string) string { s, _ := props.get(key).(string); return s }
	to := readTarget(text("app"), text("tcUrl"))
	c.client.encoder = gateway.Printable(text("flashVer"), 64)
	if to.app != c.cfg.App {
		return c.reject(cmd.tx, reasonName, &gateway.Refusal{Reason: gateway.ReasonParams,
			Text: fmt.Sprintf("there is no application [%s] here; use rtmp://<host>/%s/?p=<partner>&e=<entry>&i=0&t=<token>", gateway.Printable(to.app, 32), c.cfg.App)})
	}
	c.client.query = to.query
	_, c.client.hint = cutSlash(to.query)
	if err := c.admitConnect(); err != nil {
		return c.reject(cmd.tx, "", err)
	}
	if err := c.accept(cmd, props); err != nil {
		return err
	}
	c.client.connected = true
	c.net.await(c.cfg.Deadlines.Publish, "publish")
	return nil
}

// admitConnect authenticates a connect that has all broadcast parameters. One without any,
// or without a token, waits for the publish, whose name may bring them: OBS shows the
// server address and hides the key, so people put the token there.
func (c *conn) admitConnect() error {
	if c.client.query == "" {
		return nil
	}
	params, _, err := gateway.ParseQuery(c.client.query)
	c.client.entry = params.Entry
	if err != nil {
		return err
	}
	if params.Token == nil {
		return nil
	}
	_, err = c.admit(c.client.query)
	return err
}

// admit returns the permit for broadcast parameters.
func (c *conn) admit(query string) (*gateway.Permit, error) {
	if c.client.permit != nil && c.client.permitQuery == query {
		return c.client.permit, nil
	}
	params, _, err := gateway.ParseQuery(query)
	c.client.entry = params.Entry
	if err != nil {
		return nil, err
	}
	permit, err := c.cfg.Gateway.Connect(c.ctx, gateway.Connect{Protocol: c.protocol, Peer: c.peer, Params: params})
	if err != nil {
		return nil, err
	}
	c.client.permit, c.client.permitQuery = permit, query
	return permit, nil
}

// accept answers a connect. Of what the client said, the engine sees only the application:
// it has no use for the rest, and no business with the token.
func (c *conn) accept(cmd command, props *object) error {
	if err := c.writer.write(controlMessage(typeSetChunkSize, outChunkSize)); err != nil {
		return err
	}
	c.writer.size = outChunkSize
	caps := enhancedCaps(props)
	if f, ok := props.get("capsEx").(float64); ok && f >= 0 && f < 1<<32 {
		c.client.reconnects = uint32(f)&capReconnect != 0
	}
	return c.ask(0, cmd, true, func(reply *command) {
		if reply.name != "_result" || len(reply.args) < 2 {
			return
		}
		if p, ok := reply.args[0].(*object); ok {
			p.props = append(p.props, caps...)
		}
		reply.args[1] = &object{props: []property{
			{"level", "status"}, {"code", "NetConnection.Connect.Success"},
			{"description", "Connection succeeded."}, {"objectEncoding", 0.0},
		}}
	}, &object{props: []property{{"app", c.cfg.App}, {"type", "nonprivate"}}})
}

// reject answers a connect with _error and ends the connection (contract row 18).
func (c *conn) reject(tx float64, reason string, err error) error {
	refusal := asRefusal(err)
	c.logRefusal("RTMP connect refused", reason, refusal)
	info := &object{props: []property{
		{"level", "error"}, {"code", codeConnectRejected}, {"description", refusal.Text}, {"objectEncoding", 0.0},
	}}
	// The properties stay out: ffmpeg shows the description of the first object only.
	if err := c.writer.write(commandMessage(0, "_error", tx, nil, info)); err != nil {
		return err
	}
	return errRefused
}

// createStream lets the engine give out a message stream.
func (c *conn) createStream(cmd command) error {
	return c.ask(0, cmd, true, func(reply *command) {
		if id, ok := reply.id(1); ok && reply.name == "_result" {
			c.streams[id] = &stream{id: id}
		}
	}, nil)
}

// announce answers releaseStream and FCPublish, which encoders send before publish. Some
// wait for the answers.
func (c *conn) announce(cmd command) error {
	if err := c.ask(0, cmd, false, nil, nil, "stream"); err != nil {
		return err
	}
	if cmd.tx != 0 {
		if err := c.writer.write(commandMessage(0, "_result", cmd.tx, nil, undefined{})); err != nil {
			return err
		}
	}
	if cmd.name != "FCPublish" {
		return nil
	}
	return c.writer.write(commandMessage(0, "onFCPublish", 0, nil, &object{props: []property{
		{"level", "status"}, {"code", codeStart}, {"description", "FCPublish succeeded."},
	}}))
}

// stopNamed handles FCUnpublish: it names a stream and does not say which message stream.
func (c *conn) stopNamed(cmd command) error {
	name, _ := splitName(cmd.text(1))
	for _, st := range c.streams {
		if st.pub != nil && (st.name == name || name == "") {
			if err := c.stop(st); err != nil {
				return err
			}
		}
	}
	return c.ask(0, cmd, false, nil, nil, "stream")
}

// stop ends a publication in order; st may be nil.
func (c *conn) stop(st *stream) error {
	if st == nil || st.pub == nil {
		return nil
	}
	c.unpublish(st, nil)
	if !c.publishing() {
		c.net.await(c.cfg.Deadlines.Publish, "publish")
	}
	return c.writer.write(statusMessage(st.id, "status", codeUnpublished, "The stream has ended."))
}

// deleteStream ends a message stream; ids that we never gave out are passed over.
func (c *conn) deleteStream(cmd command) error {
	id, ok := cmd.id(1)
	st := c.streams[id]
	if !ok || st == nil {
		c.drop(dropUnknown)
		return nil
	}
	if err := c.stop(st); err != nil {
		return err
	}
	delete(c.streams, id)
	return c.ask(0, cmd, false, nil, nil, float64(id))
}

// refusePlay answers players.
func (c *conn) refusePlay(stream uint32, cmd command) error {
	refusal := &gateway.Refusal{Reason: gateway.ReasonParams, Text: "this port takes publishers only; play the entry's HLS address"}
	c.logRefusal("RTMP play refused", reasonPlay, refusal)
	if err := c.writer.write(statusMessage(stream, "error", codePlayFailed, refusal.Text)); err != nil {
		return err
	}
	if c.publishing() {
		return nil
	}
	return errRefused
}

// logRefusal writes the line for a refusal; reason stands in for the refusal's own.
func (c *conn) logRefusal(what, reason string, r *gateway.Refusal) {
	if reason == "" {
		reason = string(r.Reason)
	}
	c.metrics.refused.WithLabelValues(reason).Inc()
	args := []any{"entry", c.client.entry, "peer", c.peer, "reason", reason, "text", r.Text}
	if r.Err != nil {
		args = append(args, "error", r.Err)
	}
	level := slog.LevelDebug
	if !r.Told {
		var repeats []any
		level, repeats = c.told.Loudness(reason, c.peer, what+" "+r.Text)
		args = append(args, repeats...)
	}
	c.log.Log(c.ctx, level, what, args...)
}

// asRefusal makes a refusal of any error; what is none by itself is not for the encoder's eyes.
func asRefusal(err error) *gateway.Refusal {
	var r *gateway.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, context.Canceled), errors.Is(err, errShutdown):
		return &gateway.Refusal{Reason: gateway.ReasonShutdown, Text: errShutdown.Error(), Err: err}
	}
	return &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "this server can't take the stream now; try again", Err: err}
}
