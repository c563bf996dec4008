package publisher

import (
	"context"
	"encoding/binary"
	"fmt"
)

// call is a command that waits for its answer.
type call struct {
	id   float64 // transaction id; 0 when nothing waits
	name string
}

// reply is a command from the server.
type reply struct {
	command string
	id      float64
	values  []any // behind the transaction id
}

// Transaction ids of the publisher's commands.
const (
	idConnect = iota + 1
	idReleaseStream
	idFCPublish
	idCreateStream
	idPublish
)

// start runs the commands up to a stream on the air, as encoders send them.
func (p *Publisher) start(ctx context.Context, cfg Config) error {
	encoder := cfg.Encoder
	if encoder == "" {
		encoder = "klive"
	}
	size := binary.BigEndian.AppendUint32(nil, uint32(cfg.ChunkSize))
	if err := p.send(csidControl, msgSetChunkSize, 0, 0, size); err != nil {
		return err
	}
	p.mu.Lock()
	p.out.chunkSize = cfg.ChunkSize
	p.mu.Unlock()
	_, err := p.call(ctx, call{idConnect, "connect"}, 0, []Property{
		{"app", p.addr.app}, {"type", "nonprivate"}, {"flashVer", encoder}, {"tcUrl", p.addr.tcURL},
	})
	if err != nil {
		return err
	}
	// Servers may leave these two unanswered.
	if err := p.command(idReleaseStream, "releaseStream", 0, nil, p.addr.name); err != nil {
		return err
	}
	if err := p.command(idFCPublish, "FCPublish", 0, nil, p.addr.name); err != nil {
		return err
	}
	answer, err := p.call(ctx, call{idCreateStream, "createStream"}, 0, nil)
	if err != nil {
		return err
	}
	if len(answer.values) < 2 {
		return fmt.Errorf("createStream: %w", errAMF)
	}
	id, ok := answer.values[1].(float64)
	if !ok || id < 0 {
		return fmt.Errorf("createStream: %w", errAMF)
	}
	p.stream = uint32(id)
	_, err = p.call(ctx, call{idPublish, "publish"}, p.stream, nil, p.addr.name, "live")
	return err
}

// command sends one command without waiting for an answer.
func (p *Publisher) command(id float64, name string, stream uint32, values ...any) error {
	b := appendAMF(nil, name, id)
	return p.send(csidCommand, msgCommandAMF0, stream, 0, appendAMF(b, values...))
}

// call sends one command and waits for its answer.
func (p *Publisher) call(ctx context.Context, c call, stream uint32, values ...any) (reply, error) {
	p.wait(c)
	defer p.wait(call{})
	if err := p.command(c.id, c.name, stream, values...); err != nil {
		return reply{}, err
	}
	select {
	case r := <-p.replies:
		return r, nil
	case <-p.done:
		return reply{}, fmt.Errorf("RTMP %s: %w", c.name, p.err)
	case <-ctx.Done():
		return reply{}, fmt.Errorf("RTMP %s: the server did not answer: %w", c.name, ctx.Err())
	}
}

func (p *Publisher) wait(c call) {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	p.waiting = c
}

// dispatch hands an answer to the call that waits for it. A refusal ends the reading, so
// that Err has it.
func (p *Publisher) dispatch(r reply) error {
	p.waitMu.Lock()
	waiting := p.waiting
	p.waitMu.Unlock()
	status, _ := last(r.values).(map[string]any)
	level, _ := status["level"].(string)
	switch r.command {
	case "_error":
		if r.id == waiting.id && waiting.id != 0 {
			return refused(waiting.name, status)
		}
	case "_result":
		if r.id == waiting.id {
			p.answer(r)
		}
	case "onStatus":
		if level == "error" {
			return refused(waiting.name, status)
		}
		if status["code"] == "NetStream.Publish.Start" && waiting.name == "publish" {
			p.answer(r)
		}
	case "close":
		return refused(waiting.name, status)
	}
	return nil
}

// answer keeps the first answer to the call that waits.
func (p *Publisher) answer(r reply) {
	select {
	case p.replies <- r:
	default:
	}
}

func refused(command string, status map[string]any) *RefusedError {
	if command == "" {
		command = "onStatus"
	}
	code, _ := status["code"].(string)
	text, _ := status["description"].(string)
	return &RefusedError{Command: command, Code: code, Description: text}
}

func last(values []any) any {
	if len(values) == 0 {
		return nil
	}
	return values[len(values)-1]
}
