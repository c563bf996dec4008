package rtmp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Message types (RTMP 1.0 §5.4, §7.1).
const (
	typeSetChunkSize     = 1
	typeAbort            = 2
	typeAck              = 3
	typeUserControl      = 4
	typeWindowAck        = 5
	typeSetPeerBandwidth = 6
	typeAudio            = 8
	typeVideo            = 9
	typeDataAMF3         = 15
	typeSharedAMF3       = 16
	typeCommandAMF3      = 17
	typeDataAMF0         = 18
	typeSharedAMF0       = 19
	typeCommandAMF0      = 20
	typeAggregate        = 22
)

// User control events (RTMP 1.0 §7.1.7).
const (
	eventPingRequest  = 6
	eventPingResponse = 7
)

// message is one RTMP message, whole.
type message struct {
	typ byte
	// stream is the message stream id.
	stream uint32
	// time is the timestamp in milliseconds, wrapped at 32 bits.
	time uint32
	body []byte
}

// errProtocol is returned for bytes that are no RTMP; it ends the connection.
var errProtocol = errors.New("malformed RTMP")

// command is a command message (RTMP 1.0 §7.2): its name, its transaction and what follows.
type command struct {
	name string
	tx   float64
	args []any
}

// maxCommand bounds a command or data message in bytes.
const maxCommand = 64 << 10

// parseCommand decodes a command message.
func parseCommand(body []byte, depth int) (command, error) {
	if len(body) > maxCommand {
		return command{}, fmt.Errorf("%w: command of %d bytes", errProtocol, len(body))
	}
	values, err := decodeAMF(body, depth)
	if err != nil && len(values) < 2 {
		return command{}, fmt.Errorf("%w: command: %w", errProtocol, err)
	}
	if err != nil {
		return command{}, fmt.Errorf("%w: command %.32q: %w", errProtocol, values[0], err)
	}
	if len(values) == 0 {
		return command{}, fmt.Errorf("%w: empty command", errProtocol)
	}
	c := command{}
	var ok bool
	if c.name, ok = values[0].(string); !ok {
		return command{}, fmt.Errorf("%w: command without a name", errProtocol)
	}
	if len(values) > 1 {
		c.tx, _ = values[1].(float64)
		c.args = values[2:]
	}
	return c, nil
}

// text returns argument i when it is a string. Argument 0 is the command object.
func (c *command) text(i int) string {
	if i >= len(c.args) {
		return ""
	}
	s, _ := c.args[i].(string)
	return s
}

// id returns argument i as a message stream id; ok is false when it is none.
func (c *command) id(i int) (id uint32, ok bool) {
	if i >= len(c.args) {
		return 0, false
	}
	f, ok := c.args[i].(float64)
	if !ok || !(f >= 0 && f <= 1<<32-1) {
		return 0, false
	}
	return uint32(f), true
}

// commandMessage is the inverse of parseCommand.
func commandMessage(stream uint32, name string, tx float64, args ...any) message {
	body := appendAMF(nil, name, tx)
	return message{typ: typeCommandAMF0, stream: stream, body: appendAMF(body, args...)}
}

// statusMessage is an onStatus (RTMP 1.0 §7.2.2).
func statusMessage(stream uint32, level, code, description string) message {
	return commandMessage(stream, "onStatus", 0, nil, &object{props: []property{
		{"level", level}, {"code", code}, {"description", description},
	}})
}

// controlMessage is a protocol control message with a four-byte body.
func controlMessage(typ byte, v uint32) message {
	return message{typ: typ, body: binary.BigEndian.AppendUint32(nil, v)}
}

// splitAggregate calls f for each message of an aggregate (RTMP 1.0 §7.1.6). Its parts are
// FLV tags; their times count from the first one's.
func splitAggregate(m message, f func(message) error) error {
	const head, tail = 11, 4
	first, seen := uint32(0), false
	for b := m.body; len(b) > 0; {
		if len(b) < head {
			return fmt.Errorf("%w: aggregate ends within a header", errProtocol)
		}
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if size > len(b)-head {
			return fmt.Errorf("%w: aggregate holds %d bytes of a message of %d", errProtocol, len(b)-head, size)
		}
		time := uint32(b[7])<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])
		if !seen {
			first, seen = time, true
		}
		part := message{typ: b[0] & 0x1f, stream: m.stream, time: m.time + time - first, body: b[head : head+size : head+size]}
		if part.typ == typeAggregate {
			return fmt.Errorf("%w: aggregate within an aggregate", errProtocol)
		}
		if err := f(part); err != nil {
			return err
		}
		b = b[min(head+size+tail, len(b)):]
	}
	return nil
}
