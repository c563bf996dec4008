package ts

import (
	"bytes"
	"errors"
	"fmt"

	"klive/infra/media"
)

// Rate and Bits describe the clock of decode and presentation times: 90 kHz in a counter of
// 33 bits (ISO/IEC 13818-1 §2.4.3.7).
const (
	Rate = 90000
	Bits = 33

	timeMask = 1<<Bits - 1
)

var (
	// ErrFormat is returned for bytes that are no transport stream.
	ErrFormat = errors.New("this is no MPEG transport stream")
	// ErrCodec is returned for streams that can't be used. Its text says what to send instead.
	ErrCodec = errors.New("unsupported codec")
)

// Sink takes what a Reader finds. An error ends the reading.
type Sink interface {
	// Program hears of each new program map: all elementary streams, those that are not used
	// included.
	Program([]Stream) error
	// Track announces the parameters of a track for the units that follow, before the first
	// one and when they change.
	Track(media.Track, Stream) error
	// Unit takes one access unit.
	Unit(Unit) error
	// Data takes timed data beside them.
	Data(Data) error
}

// Stream is one elementary stream of a program map.
type Stream struct {
	PID  uint16
	Type uint8 // stream_type
	// Codec is the usual name of what it carries.
	Codec string
	// Kind is 0 for streams that are not used; Track is meaningless then.
	Kind  media.Kind
	Track media.TrackID
	// Language is the ISO 639-2 code, or empty.
	Language string
}

// Unit is one access unit.
type Unit struct {
	Track media.TrackID
	// Time is the decode time, wrapped; Offset is presentation minus decode time. See Rate.
	Time   uint64
	Offset int32
	Key    bool
	// Payload is as [media.Frame] holds it, and the sink's to keep.
	Payload []byte
	// Lost says that access units right before this one were damaged and left out.
	Lost bool
}

// Stats count what was read, and what was wrong with it.
type Stats struct {
	Packets uint64
	// Resyncs are places where the packets' grid was lost, Continuity packets missing by
	// their counters or marked as damaged.
	Resyncs, Continuity uint64
	// Damaged are the access units and audio packets left out for that, Malformed those that
	// contradict themselves.
	Damaged, Malformed uint64
	// ClockJumps are steps of the program clock beyond what the standard allows.
	ClockJumps uint64
}

const (
	packetSize = 188
	syncByte   = 0x47
	nullPID    = 0x1fff

	// maxGarbage is how many bytes may lie between two packets.
	maxGarbage = 64 << 10
	// maxClockGap is the longest distance of two program clock references: the standard asks
	// for 100 ms, encoders take liberties.
	maxClockGap = 2 * Rate
)

// Reader finds the access units in a transport stream that comes in pieces of any size. It
// follows the first program. What is damaged is left out up to the next access unit that is
// whole. It is not safe for concurrent use.
type Reader struct {
	sink  Sink
	stats Stats

	carry   []byte // less than a packet
	garbage int    // bytes since the last packet
	inSync  bool

	pat, pmt   sections
	pmtPID     uint16
	program    uint16
	clockPID   uint16
	clock      int64 // the last program clock reference; negative before it
	streams    []*elementary
	byPID      map[uint16]*elementary
	data       map[uint16]*dataStream // by PID
	programSum uint32                 // checksum of the program map in force
}

// NewReader returns a reader of one stream.
func NewReader(s Sink) *Reader {
	return &Reader{sink: s, byPID: map[uint16]*elementary{}, pat: sections{last: -1}, pmt: sections{last: -1}, pmtPID: nullPID, clock: -1}
}

// Stats returns the counts so far.
func (r *Reader) Stats() Stats { return r.stats }

// Write reads on. It keeps nothing of b. Errors wrap ErrFormat, ErrCodec or what the sink
// returned; after one there is no more reading.
func (r *Reader) Write(b []byte) (int, error) {
	n := len(b)
	if len(r.carry) > 0 {
		b = append(r.carry, b...)
		r.carry = r.carry[:0]
	}
	for len(b) >= packetSize {
		if b[0] != syncByte || !r.inSync && len(b) > packetSize && b[packetSize] != syncByte {
			skip, err := r.resync(b)
			if err != nil {
				return 0, err
			}
			b = b[skip:]
			continue
		}
		r.inSync, r.garbage = true, 0
		if err := r.packet(b[:packetSize:packetSize]); err != nil {
			return 0, err
		}
		b = b[packetSize:]
	}
	r.carry = append(r.carry[:0], b...)
	return n, nil
}

// Flush hands out what is complete at the stream's end. whole says that nothing can be missing
// before that end: a file or an HTTP body that came to its own, not a connection that broke. It
// decides on a unit whose length nobody said and whose last packet has no stuffing. A stream
// that ends within a packet is not whole, whatever is said of it.
func (r *Reader) Flush(whole bool) error {
	whole = whole && len(r.carry) == 0
	for _, e := range r.streams {
		if e.begun && e.size() == 0 && !e.closed && !whole {
			e.damaged = true
		}
		if err := e.finish(r); err != nil {
			return err
		}
	}
	return nil
}

// resync returns how many bytes lie before what looks like a packet.
func (r *Reader) resync(b []byte) (int, error) {
	if r.inSync {
		r.stats.Resyncs++
		r.inSync = false
	}
	skip := len(b)
	for i := 1; i < len(b); i++ {
		next := bytes.IndexByte(b[i:], syncByte)
		if next < 0 {
			break
		}
		i += next
		if i+packetSize >= len(b) || b[i+packetSize] == syncByte {
			skip = i
			break
		}
	}
	if r.garbage += skip; r.garbage > maxGarbage {
		return 0, fmt.Errorf("%w: %d KiB without a packet", ErrFormat, maxGarbage>>10)
	}
	return skip, nil
}

// packet reads one transport packet (§2.4.3.2).
func (r *Reader) packet(p []byte) error {
	r.stats.Packets++
	pid := uint16(p[1]&0x1f)<<8 | uint16(p[2])
	if pid == nullPID {
		return nil
	}
	h := header{
		start: p[1]&0x40 != 0, damaged: p[1]&0x80 != 0, counter: int8(p[3] & 0x0f),
		scrambled: p[3]&0xc0 != 0, payload: p[4:],
	}
	if p[3]&0x20 != 0 {
		n := int(p[4])
		if n > packetSize-5 {
			r.stats.Malformed++
			return nil
		}
		if n > 0 {
			h.break_ = p[5]&0x80 != 0
			h.random = p[5]&0x40 != 0
		}
		if n >= 7 && p[5]&0x10 != 0 && pid == r.clockPID {
			r.noteClock(p[6:], h.break_)
		}
		h.payload, h.stuffed = p[5+n:], stuffed(p[5:5+n])
	}
	if p[3]&0x10 == 0 {
		h.payload = nil
	}
	switch {
	case pid == 0:
		return r.pat.add(r, &h, (*Reader).readPAT)
	case pid == r.pmtPID:
		return r.pmt.add(r, &h, (*Reader).readPMT)
	}
	if e := r.byPID[pid]; e != nil {
		return e.packet(r, &h)
	}
	if d := r.data[pid]; d != nil {
		return d.packet(r, &h)
	}
	return nil
}

// header is what a packet says of itself.
type header struct {
	start     bool // payload_unit_start_indicator
	damaged   bool // transport_error_indicator
	scrambled bool
	break_    bool // discontinuity_indicator
	random    bool // random_access_indicator
	counter   int8
	stuffed   bool   // its adaptation field is longer than what it says: the payload ends here
	payload   []byte // nil when the packet has none
}

// stuffed tells whether an adaptation field, after its length, ends in stuffing (§2.4.3.5).
func stuffed(field []byte) bool {
	if len(field) == 0 {
		return true // the length alone takes a byte's place
	}
	flags, used := field[0], 1
	used += 6 * int(flags>>4&1) // program clock reference
	used += 6 * int(flags>>3&1) // the original one
	used += int(flags >> 2 & 1) // splice countdown
	for bits := flags & 3; bits != 0 && used < len(field); bits &= bits - 1 {
		used += 1 + int(field[used]) // private data, extension: each with its length first
	}
	return used < len(field)
}

// noteClock reads a program clock reference. Times of frames do not depend on it; its jumps
// tell an operator what is wrong with a source.
func (r *Reader) noteClock(b []byte, announced bool) {
	base := int64(b[0])<<25 | int64(b[1])<<17 | int64(b[2])<<9 | int64(b[3])<<1 | int64(b[4]>>7)
	if r.clock >= 0 && !announced {
		if step := Distance(uint64(base - r.clock)); step < 0 || step > maxClockGap {
			r.stats.ClockJumps++
		}
	}
	r.clock = base
}

// Distance is d, the difference of two times on the wrapped clock (see [Rate]), as the step of
// less than half a turn that is congruent to it, forwards or back.
func Distance(d uint64) int64 { return int64(d<<(64-Bits)) >> (64 - Bits) }
