package ts

import (
	"bytes"
	"fmt"
)

// maxPES bounds one access unit with its header, in bytes.
const maxPES = 8 << 20

// elementary puts the PES packets of one stream together (ISO/IEC 13818-1 §2.4.3.6).
type elementary struct {
	info    Stream
	content content

	last    int8 // continuity counter; negative before the first packet
	buf     []byte
	begun   bool
	damaged bool // bytes of the packet in buf are missing
	closed  bool // stuffing ended its last transport packet
	random  bool // it is marked as a random access point
	lost    bool // what came before the next unit was left out
}

// content turns the bytes of one PES packet into units.
type content interface {
	// read takes a whole PES packet's payload, which it must not keep.
	read(r *Reader, e *elementary, p payload) error
	// drop hears that bytes before the next packet are missing.
	drop()
}

// payload is what a PES packet holds. Times are wrapped; timed says that there are any.
type payload struct {
	data     []byte
	timed    bool
	pts, dts uint64
	random   bool
}

func newElementary(s Stream, descriptors []byte) *elementary {
	e := &elementary{info: s, last: -1}
	switch s.Codec {
	case nameH264, nameHEVC:
		e.content = newVideo(s.Codec == nameHEVC)
	case nameAAC:
		e.content = &audio{framer: &adts{}}
	case nameLATM:
		e.content = &audio{framer: &latm{}}
	case nameMP3:
		e.content = &audio{framer: &mpegAudio{}}
	case nameAC3:
		e.content = &audio{framer: &ac3Audio{}}
	case nameOpus:
		e.content = &audio{framer: &opus{channels: opusChannels(descriptors)}}
	}
	return e
}

// packet takes a transport packet.
func (e *elementary) packet(r *Reader, h *header) error {
	if h.payload == nil {
		return nil
	}
	if h.scrambled {
		return fmt.Errorf("%w: the stream is scrambled; send it in the clear", ErrCodec)
	}
	switch {
	case e.last >= 0 && h.counter == e.last && !h.break_ && bytes.HasSuffix(e.buf, h.payload):
		return nil // sent twice
	case h.damaged, e.last >= 0 && !h.break_ && h.counter != (e.last+1)&0x0f:
		r.stats.Continuity++
		e.damaged, e.lost = e.begun, true
		e.content.drop()
	}
	e.last = h.counter
	if h.damaged {
		return nil
	}
	if h.start {
		if err := e.finish(r); err != nil {
			return err
		}
		e.begun, e.damaged, e.random = true, false, h.random
		e.buf = e.buf[:0]
	}
	if !e.begun {
		return nil
	}
	if len(e.buf)+len(h.payload) > maxPES {
		e.damaged = true
		return e.finish(r)
	}
	e.buf, e.closed = append(e.buf, h.payload...), h.stuffed
	if size := e.size(); size > 0 && len(e.buf) >= size {
		return e.finish(r)
	}
	return nil
}

// size is the length of the packet in buf by its own header; 0 when that does not say.
func (e *elementary) size() int {
	if len(e.buf) < 6 {
		return 0
	}
	if n := int(e.buf[4])<<8 | int(e.buf[5]); n > 0 {
		return 6 + n
	}
	return 0
}

// finish hands on the packet in buf, unless it is damaged.
func (e *elementary) finish(r *Reader) error {
	if !e.begun {
		return nil
	}
	e.begun = false
	size := e.size()
	if e.damaged || len(e.buf) < size {
		r.stats.Damaged++
		e.lost = true
		e.content.drop()
		return nil
	}
	b := e.buf
	if size > 0 {
		b = b[:size]
	}
	p, ok := readPES(b)
	if !ok {
		r.stats.Malformed++
		e.lost = true
		e.content.drop()
		return nil
	}
	p.random = e.random
	return e.content.read(r, e, p)
}

// emit hands one unit out.
func (e *elementary) emit(r *Reader, u Unit) error {
	u.Track, u.Lost = e.info.Track, e.lost
	e.lost = false
	return r.sink.Unit(u)
}

// readPES reads a PES packet's header.
func readPES(b []byte) (payload, bool) {
	if len(b) < 9 || b[0] != 0 || b[1] != 0 || b[2] != 1 || b[6]&0xc0 != 0x80 {
		return payload{}, false
	}
	n := int(b[8])
	if n > len(b)-9 {
		return payload{}, false
	}
	p := payload{data: b[9+n:]}
	opt := b[9 : 9+n]
	if b[7]&0x80 != 0 && len(opt) >= 5 {
		p.timed, p.pts = true, readTime(opt)
		p.dts = p.pts
		if b[7]&0x40 != 0 && len(opt) >= 10 {
			p.dts = readTime(opt[5:])
		}
	}
	return p, true
}

func readTime(b []byte) uint64 {
	return uint64(b[0]>>1&7)<<30 | uint64(b[1])<<22 | uint64(b[2]>>1)<<15 | uint64(b[3])<<7 | uint64(b[4]>>1)
}
