package rtmp

import (
	"encoding/binary"
	"io"
)

// The chunk streams that we write on.
const (
	chunkStreamControl = 2
	chunkStreamCommand = 3
)

// chunkWriter writes messages, each with a full header.
type chunkWriter struct {
	w io.Writer
	// size is the chunk size that the reader knows of.
	size int
	buf  []byte
}

func (c *chunkWriter) write(m message) error {
	id := byte(chunkStreamCommand)
	if m.typ <= typeSetPeerBandwidth {
		id = chunkStreamControl
	}
	c.buf = appendChunks(c.buf[:0], id, m, c.size)
	_, err := c.w.Write(c.buf)
	return err
}

// appendChunks appends a message as one chunk of type 0 and as many of type 3 as it takes.
// Extended timestamps are repeated in the latter (RTMP 1.0 §5.3.1.3).
func appendChunks(b []byte, id byte, m message, size int) []byte {
	n := len(m.body)
	time := min(m.time, extendedTime)
	b = append(b, id, byte(time>>16), byte(time>>8), byte(time), byte(n>>16), byte(n>>8), byte(n), m.typ)
	b = binary.LittleEndian.AppendUint32(b, m.stream)
	for rest := m.body; ; {
		if time == extendedTime {
			b = binary.BigEndian.AppendUint32(b, m.time)
		}
		k := min(size, len(rest))
		b = append(b, rest[:k]...)
		if rest = rest[k:]; len(rest) == 0 {
			return b
		}
		b = append(b, 3<<6|id)
	}
}
