package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errLimit is returned when a peer goes beyond a limit; it ends the connection.
var errLimit = errors.New("limit exceeded")

const (
	// defaultChunkSize is in force until a peer sets another (RTMP 1.0 §5.4.1).
	defaultChunkSize = 128
	// maxChunkSize is the largest that makes sense: a message is no longer (§5.4.1).
	maxChunkSize = 0xffffff
	// extendedTime in the 24-bit field says that a 32-bit one follows (§5.3.1.3).
	extendedTime = 0xffffff
	// trust is how much memory a message is given on the word of its header alone.
	trust = 4 << 10
)

// chunkReader puts messages together from chunks (RTMP 1.0 §5.3).
type chunkReader struct {
	r *bufio.Reader
	// limits holds MaxMessageSize, MaxChunkStreams and MaxMemoryPerConnection.
	limits Limits
	// lost is told of each message that a peer broke off.
	lost func()

	chunkSize int
	streams   map[uint32]*chunkStream
	// held is the memory of messages that are not complete, in bytes.
	held int
	// largest is the length of the longest message so far: a peer that has sent as much is
	// believed when it announces it again.
	largest int
	// habit says whether the peer repeats the extended timestamp in type 3 chunks: the
	// specification says so, many encoders don't.
	habit habit
	// read counts bytes, for acknowledgements.
	read uint64
}

type habit uint8

const (
	habitUnknown habit = iota
	habitRepeats
	habitOmits
)

// chunkStream is the state of one chunk stream: the header in force and the message that
// is under way.
type chunkStream struct {
	time, delta uint32
	length      int
	typ         byte
	stream      uint32
	// extended says that the header in force has an extended timestamp, field what it was.
	extended, absolute bool
	field              uint32

	open bool
	body []byte
}

func newChunkReader(r *bufio.Reader, limits Limits, lost func()) *chunkReader {
	return &chunkReader{r: r, limits: limits, lost: lost, chunkSize: defaultChunkSize, streams: map[uint32]*chunkStream{}}
}

// widen makes later reads larger.
func (c *chunkReader) widen(size int) { c.r = bufio.NewReaderSize(c.r, size) }

// next returns the next complete message. Errors are errProtocol, errLimit and the reader's.
func (c *chunkReader) next() (message, error) {
	for {
		cs, err := c.header()
		if err != nil {
			return message{}, err
		}
		if err := c.payload(cs); err != nil {
			return message{}, err
		}
		if len(cs.body) < cs.length {
			continue
		}
		m := message{typ: cs.typ, stream: cs.stream, time: cs.time, body: cs.body[:cs.length:cs.length]}
		c.largest = max(c.largest, cs.length)
		c.release(cs)
		return m, nil
	}
}

// setChunkSize takes a Set Chunk Size message over (§5.4.1).
func (c *chunkReader) setChunkSize(n uint32) error {
	if n == 0 || n > 1<<31-1 {
		return fmt.Errorf("%w: chunk size %d", errProtocol, n)
	}
	c.chunkSize = int(min(n, maxChunkSize))
	return nil
}

// abort discards the message that is under way on a chunk stream (§5.4.2).
func (c *chunkReader) abort(id uint32) {
	if cs := c.streams[id]; cs != nil && cs.open {
		c.release(cs)
		c.lost()
	}
}

func (c *chunkReader) release(cs *chunkStream) {
	c.held -= cap(cs.body)
	cs.open, cs.body = false, nil
}

// take returns the next n bytes; they hold until the next read.
func (c *chunkReader) take(n int) ([]byte, error) {
	b, err := c.r.Peek(n)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	c.r.Discard(n)
	c.read += uint64(n)
	return b, nil
}

// header reads a chunk's headers and returns its stream.
func (c *chunkReader) header() (*chunkStream, error) {
	b, err := c.take(1)
	if err != nil {
		return nil, err
	}
	kind, id := b[0]>>6, uint32(b[0]&0x3f)
	if id < 2 {
		if b, err = c.take(1 + int(id)); err != nil {
			return nil, err
		}
		id = 64 + uint32(b[0])
		if len(b) == 2 {
			id += uint32(b[1]) << 8
		}
	}
	cs := c.streams[id]
	if cs == nil {
		// Some clients begin with type 1, on the understanding that all is zero before.
		if kind > 1 {
			return nil, fmt.Errorf("%w: chunk stream %d begins without a header", errProtocol, id)
		}
		if len(c.streams) >= c.limits.MaxChunkStreams {
			return nil, fmt.Errorf("%w: more than %d chunk streams", errLimit, c.limits.MaxChunkStreams)
		}
		cs = &chunkStream{}
		c.streams[id] = cs
	}
	if kind == 3 {
		return cs, c.continuation(cs)
	}
	return cs, c.messageHeader(cs, kind)
}

// messageHeader reads a header of type 0, 1 or 2 (§5.3.1.2).
func (c *chunkReader) messageHeader(cs *chunkStream, kind byte) error {
	if cs.open {
		c.release(cs)
		c.lost()
	}
	b, err := c.take([]int{11, 7, 3}[kind])
	if err != nil {
		return err
	}
	time := uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	if kind < 2 {
		cs.length = int(b[3])<<16 | int(b[4])<<8 | int(b[5])
		cs.typ = b[6]
	}
	if kind == 0 {
		cs.stream = binary.LittleEndian.Uint32(b[7:])
	}
	if cs.extended = time == extendedTime; cs.extended {
		if b, err = c.take(4); err != nil {
			return err
		}
		time = binary.BigEndian.Uint32(b)
	}
	cs.field, cs.absolute = time, kind == 0
	if kind == 0 {
		cs.time, cs.delta = time, 0
	} else {
		cs.time, cs.delta = cs.time+time, time
	}
	return c.begin(cs)
}

// continuation handles a chunk of type 3: it goes on with a message or begins one like the
// one before it.
func (c *chunkReader) continuation(cs *chunkStream) error {
	field, present, err := c.repeated(cs)
	if err != nil {
		return err
	}
	if cs.open {
		return nil
	}
	switch {
	case !present || field == cs.field:
		cs.time += cs.delta
	case cs.absolute:
		cs.time, cs.field = field, field
	default:
		cs.time, cs.delta, cs.field = cs.time+field, field, field
	}
	return c.begin(cs)
}

// repeated consumes the extended timestamp of a type 3 chunk when the peer sends one.
// Until that is known, the next four bytes are compared with what they would have to be.
func (c *chunkReader) repeated(cs *chunkStream) (field uint32, present bool, err error) {
	if !cs.extended || c.habit == habitOmits {
		return 0, false, nil
	}
	if c.habit == habitUnknown {
		b, err := c.r.Peek(4)
		if err != nil {
			return 0, false, err
		}
		if v := binary.BigEndian.Uint32(b); v != cs.field && v != cs.time {
			c.habit = habitOmits
			return 0, false, nil
		}
		c.habit = habitRepeats
	}
	b, err := c.take(4)
	if err != nil {
		return 0, false, err
	}
	field = binary.BigEndian.Uint32(b)
	if cs.open || field == cs.time {
		// Within a message some repeat the delta, some the time: neither says anything new.
		return cs.field, true, nil
	}
	return field, true, nil
}

// begin makes room for a message.
func (c *chunkReader) begin(cs *chunkStream) error {
	if cs.length > c.limits.MaxMessageSize {
		return fmt.Errorf("%w: message of %d bytes, at most %d are taken", errLimit, cs.length, c.limits.MaxMessageSize)
	}
	cs.open = true
	return c.grow(cs, min(cs.length, max(trust, 2*c.largest)))
}

// grow gives the message under way room for n bytes.
func (c *chunkReader) grow(cs *chunkStream, n int) error {
	if n == 0 {
		return nil
	}
	if c.held+n-cap(cs.body) > c.limits.MaxMemoryPerConnection {
		return fmt.Errorf("%w: incomplete messages need more than %d bytes", errLimit, c.limits.MaxMemoryPerConnection)
	}
	c.held -= cap(cs.body)
	cs.body = append(make([]byte, 0, n), cs.body...)
	c.held += cap(cs.body)
	return nil
}

// payload reads the payload of one chunk.
func (c *chunkReader) payload(cs *chunkStream) error {
	for left := min(c.chunkSize, cs.length-len(cs.body)); left > 0; {
		if len(cs.body) == cap(cs.body) {
			if err := c.grow(cs, min(cs.length, 2*cap(cs.body))); err != nil {
				return err
			}
		}
		at := len(cs.body)
		n := min(left, cap(cs.body)-at)
		read, err := io.ReadFull(c.r, cs.body[at:at+n])
		c.read += uint64(read)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		cs.body = cs.body[:at+n]
		left -= n
	}
	return nil
}
