package ts

import (
	"bytes"

	"klive/infra/media"
)

// Data is timed data beside pictures and sound.
type Data struct {
	Format media.DataFormat
	// Time is when it is to be taken note of, wrapped (see Rate); only when Timed is set. Else it
	// means now.
	Time  uint64
	Timed bool
	// Payload is a splice information section (SCTE 35 §9) or an ID3 tag, and the sink's to keep.
	Payload []byte
}

const (
	// maxDataStreams bounds the streams of data that are read.
	maxDataStreams = 4
	// maxPrivate is the longest private section (ISO/IEC 13818-1 §2.4.4.11), in bytes.
	maxPrivate = 4096
)

// dataStream is a stream of timed data: sections, or PES packets.
type dataStream struct {
	info     Stream
	sections sections
	packets  *elementary // of ID3
}

func newDataStream(s Stream) *dataStream {
	d := &dataStream{info: s, sections: sections{last: -1, private: true}}
	if s.Type == typeMetadata {
		d.packets = &elementary{info: s, last: -1, content: id3{}}
	}
	return d
}

func (d *dataStream) packet(r *Reader, h *header) error {
	switch {
	case h.scrambled: // nobody needs it to play
		return nil
	case d.packets != nil:
		return d.packets.packet(r, h)
	}
	return d.sections.add(r, h, (*Reader).readSplice)
}

// followData makes the streams of data of a program map those that are read.
func (r *Reader) followData(list []Stream) {
	old := r.data
	r.data = map[uint16]*dataStream{}
	for _, s := range list {
		if s.Type != typeSCTE35 && s.Type != typeMetadata || len(r.data) == maxDataStreams {
			continue
		}
		if d := old[s.PID]; d != nil && d.info.Type == s.Type {
			r.data[s.PID] = d
		} else {
			r.data[s.PID] = newDataStream(s)
		}
	}
}

// id3 reads PES packets that hold ID3 tags ("Timed Metadata for HTTP Live Streaming" §2).
type id3 struct{}

func (id3) drop() {}

func (id3) read(r *Reader, _ *elementary, p payload) error {
	if !bytes.HasPrefix(p.data, []byte("ID3")) {
		return nil // metadata of another kind
	}
	if len(p.data) > media.MaxData {
		r.stats.Malformed++
		return nil
	}
	return r.sink.Data(Data{Format: media.ID3, Time: p.pts, Timed: p.timed, Payload: bytes.Clone(p.data)})
}

// The tables and commands of SCTE 35 (§9.6, §9.7) that say when.
const (
	spliceTable  = 0xfc
	spliceInsert = 5
	timeSignal   = 6
	spliceHeader = 14 // bytes before the command
)

// readSplice hands a splice information section on.
func (r *Reader) readSplice(b []byte) error {
	if b[0] != spliceTable {
		return nil
	}
	at, timed := spliceTime(b)
	return r.sink.Data(Data{Format: media.SCTE35, Time: at, Timed: timed, Payload: bytes.Clone(b)})
}

// spliceTime is when a section's splice is: its time with the adjustment that multiplexers make.
// ok is false when it is at once, has no time, or is encrypted.
func spliceTime(b []byte) (at uint64, ok bool) {
	if len(b) < spliceHeader+4 || b[4]&0x80 != 0 {
		return 0, false
	}
	adjustment := splice33(b[4:])
	command := b[spliceHeader : len(b)-4]
	if b[13] == spliceInsert {
		// event, cancel indicator; then flags: the whole program, a duration, at once
		if len(command) < 6 || command[4]&0x80 != 0 || command[5]&0x40 == 0 || command[5]&0x10 != 0 {
			return 0, false
		}
		command = command[6:]
	} else if b[13] != timeSignal {
		return 0, false
	}
	if len(command) < 5 || command[0]&0x80 == 0 {
		return 0, false
	}
	return (splice33(command) + adjustment) & timeMask, true
}

// splice33 reads the low 33 bits of five bytes.
func splice33(b []byte) uint64 {
	return uint64(b[0]&1)<<32 | uint64(b[1])<<24 | uint64(b[2])<<16 | uint64(b[3])<<8 | uint64(b[4])
}
