package publisher

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Message type ids (RTMP 1.0 §5.4, §6.2, §7.1).
const (
	msgSetChunkSize = 1
	msgAck          = 3
	msgUserControl  = 4
	msgWindowAck    = 5
	msgAudio        = 8
	msgVideo        = 9
	msgDataAMF0     = 18
	msgCommandAMF0  = 20
)

// Chunk stream ids as encoders use them: 2 is fixed by RTMP 1.0 §5.4.
const (
	csidControl = 2
	csidCommand = 3
	csidAudio   = 4
	csidData    = 5
	csidVideo   = 6
)

const extendedTimestamp = 0xffffff

// maxAnswer bounds one message from the server, in bytes.
const maxAnswer = 256 << 10

// message is one RTMP message from the server.
type message struct {
	typeID  uint8
	payload []byte
}

// chunkWriter cuts messages into chunks (RTMP 1.0 §5.3.1). Every message begins with a
// full header, so each can be lost, repeated or reordered by a test without touching the
// next. It is not safe for concurrent use.
type chunkWriter struct {
	conn      net.Conn
	chunkSize int
	vector    bool // the connection takes several buffers in one system call
	head      []byte
	bufs      net.Buffers
	flat      []byte
}

// write sends one message whose payload is the given pieces in order. The pieces are not
// kept and not changed.
func (w *chunkWriter) write(csid, typeID uint8, stream, timestamp uint32, pieces ...[]byte) error {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	w.head = appendHeader(w.head[:0], csid, typeID, stream, timestamp, size)
	next := len(w.head)
	w.head = append(w.head, 0xc0|csid)
	if timestamp >= extendedTimestamp {
		w.head = binary.BigEndian.AppendUint32(w.head, timestamp)
	}
	w.bufs = append(w.bufs[:0], w.head[:next])
	room := w.chunkSize
	for _, p := range pieces {
		for len(p) > 0 {
			if room == 0 {
				w.bufs = append(w.bufs, w.head[next:])
				room = w.chunkSize
			}
			n := min(room, len(p))
			w.bufs = append(w.bufs, p[:n])
			p, room = p[n:], room-n
		}
	}
	return w.flush()
}

func (w *chunkWriter) flush() error {
	if w.vector {
		bufs := w.bufs // WriteTo consumes its receiver
		_, err := bufs.WriteTo(w.conn)
		return err
	}
	w.flat = w.flat[:0]
	for _, b := range w.bufs {
		w.flat = append(w.flat, b...)
	}
	_, err := w.conn.Write(w.flat)
	return err
}

func appendHeader(b []byte, csid, typeID uint8, stream, timestamp uint32, size int) []byte {
	short := min(timestamp, extendedTimestamp)
	b = append(b, csid,
		byte(short>>16), byte(short>>8), byte(short),
		byte(size>>16), byte(size>>8), byte(size), typeID)
	b = binary.LittleEndian.AppendUint32(b, stream)
	if short == extendedTimestamp {
		b = binary.BigEndian.AppendUint32(b, timestamp)
	}
	return b
}

// chunkReader puts the server's messages together. A publisher hears little: commands,
// acknowledgements and pings.
type chunkReader struct {
	r         *bufio.Reader
	chunkSize int
	streams   map[uint32]*chunkStream
}

type chunkStream struct {
	length   int
	typeID   uint8
	extended bool
	partial  []byte
}

// maxChunkStreams bounds how many chunk streams a server may open.
const maxChunkStreams = 64

func newChunkReader(r io.Reader) *chunkReader {
	return &chunkReader{r: bufio.NewReaderSize(r, 4096), chunkSize: 128, streams: map[uint32]*chunkStream{}}
}

// read returns the next whole message; its payload is the caller's.
func (r *chunkReader) read() (message, error) {
	for {
		s, err := r.chunk()
		if err != nil {
			return message{}, err
		}
		if len(s.partial) < s.length {
			continue
		}
		m := message{typeID: s.typeID, payload: s.partial}
		s.partial = nil
		if m.typeID == msgSetChunkSize && len(m.payload) >= 4 {
			size := binary.BigEndian.Uint32(m.payload) & 0x7fffffff
			if size == 0 {
				return message{}, fmt.Errorf("RTMP: the server set a chunk size of 0")
			}
			r.chunkSize = int(min(size, maxAnswer))
		}
		return m, nil
	}
}

func (r *chunkReader) chunk() (*chunkStream, error) {
	format, csid, err := r.basicHeader()
	if err != nil {
		return nil, err
	}
	s := r.streams[csid]
	if s == nil {
		if format != 0 && format != 1 || len(r.streams) >= maxChunkStreams {
			return nil, fmt.Errorf("RTMP: the server began chunk stream %d out of order", csid)
		}
		s = &chunkStream{}
		r.streams[csid] = s
	}
	if err := r.messageHeader(format, s); err != nil {
		return nil, err
	}
	n := min(s.length-len(s.partial), r.chunkSize)
	at := len(s.partial)
	s.partial = append(s.partial, make([]byte, n)...)
	_, err = io.ReadFull(r.r, s.partial[at:])
	return s, err
}

func (r *chunkReader) basicHeader() (format uint8, csid uint32, err error) {
	b, err := r.r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	format, csid = b>>6, uint32(b&0x3f)
	if csid > 1 {
		return format, csid, nil
	}
	var ext [2]byte
	if _, err := io.ReadFull(r.r, ext[:csid+1]); err != nil {
		return 0, 0, err
	}
	return format, 64 + uint32(ext[0]) + uint32(ext[1])<<8, nil
}

// messageHeader reads the header of the given format (RTMP 1.0 §5.3.1.2) into s.
func (r *chunkReader) messageHeader(format uint8, s *chunkStream) error {
	var b [11]byte
	n := [4]int{11, 7, 3, 0}[format]
	if _, err := io.ReadFull(r.r, b[:n]); err != nil {
		return err
	}
	if n >= 3 {
		s.extended = b[0] == 0xff && b[1] == 0xff && b[2] == 0xff
	}
	if n >= 7 {
		s.length = int(b[3])<<16 | int(b[4])<<8 | int(b[5])
		s.typeID = b[6]
		s.partial = nil
	}
	if s.length > maxAnswer {
		return fmt.Errorf("RTMP: the server sent a message of %d bytes, more than %d", s.length, maxAnswer)
	}
	if !s.extended {
		return nil
	}
	_, err := io.ReadFull(r.r, b[:4])
	return err
}
