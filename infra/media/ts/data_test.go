package ts

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"klive/infra/media"
)

// withCRC ends a section.
func withCRC(section []byte) []byte {
	binary.BigEndian.PutUint16(section[1:], binary.BigEndian.Uint16(section[1:])&0xf000|uint16(len(section)+4-3))
	return binary.BigEndian.AppendUint32(section, checksum(section))
}

// packets puts a section, or a PES packet, into transport packets.
func packets(pid uint16, counter byte, table bool, b []byte) (out []byte) {
	if table {
		b = append([]byte{0}, b...)
	}
	for first := byte(0x40); len(b) > 0; first = 0 {
		p := []byte{syncByte, first | byte(pid>>8), byte(pid), 0x10 | counter&0x0f}
		counter++
		n := min(len(b), packetSize-4)
		if room := packetSize - 4 - n; room > 0 && table {
			p = append(p, b[:n]...)
			p = append(p, slices.Repeat([]byte{0xff}, room)...)
		} else if room > 0 {
			p[3] |= 0x20
			p = append(p, byte(room-1))
			if room > 1 {
				p = append(append(p, 0), slices.Repeat([]byte{0xff}, room-2)...)
			}
			p = append(p, b[:n]...)
		} else {
			p = append(p, b[:n]...)
		}
		out, b = append(out, p...), b[n:]
	}
	return out
}

// withData adds streams of SCTE-35 (PID 500) and of timed metadata (PID 501) to a transport stream's
// program map, and packets behind each of its maps.
func withData(t *testing.T, stream []byte, more []byte) []byte {
	t.Helper()
	const pmt = 0x1000
	var out []byte
	for ; len(stream) >= packetSize; stream = stream[packetSize:] {
		p := stream[:packetSize]
		if pid := binary.BigEndian.Uint16(p[1:]) & 0x1fff; pid != pmt {
			out = append(out, p...)
			continue
		}
		section := p[5:]
		section = slices.Clone(section[:3+int(binary.BigEndian.Uint16(section[1:])&0x0fff)-4])
		section = append(section, typeSCTE35, 0xe0|500>>8, 500&0xff, 0xf0, 0, typeMetadata, 0xe0|501>>8, 501&0xff, 0xf0, 0)
		out = append(out, packets(pmt, p[3]&0x0f, true, withCRC(section))...)
		out, more = append(out, more...), nil
	}
	return out
}

// pes is a PES packet of private data with a time.
func pes(pts uint64, b []byte) []byte {
	return append([]byte{0, 0, 1, 0xbd, byte((len(b) + 8) >> 8), byte(len(b) + 8), 0x84, 0x80, 5,
		0x21 | byte(pts>>29)&0x0e, byte(pts >> 22), byte(pts>>14) | 1, byte(pts >> 7), byte(pts<<1) | 1}, b...)
}

// splice is a splice information section with a command; adjustment is added to its time.
func splice(adjustment uint64, typ byte, command ...byte) []byte {
	s := []byte{spliceTable, 0x30, 0, 0, byte(adjustment >> 32 & 1), byte(adjustment >> 24), byte(adjustment >> 16), byte(adjustment >> 8), byte(adjustment),
		0, 0xff, 0xf0 | byte(len(command)>>8), byte(len(command)), typ}
	return withCRC(append(append(s, command...), 0, 0))
}

// TestData reads SCTE-35 and ID3 beside the media, which stay as they are.
func TestData(t *testing.T) {
	// The example of SCTE 35 §14.1: a time signal at 0x072bd0050.
	standard, err := hex.DecodeString("fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e")
	if err != nil {
		t.Fatal(err)
	}
	at := splice(100, timeSignal, 0xff, 0xff, 0xff, 0xff, 0xf0)                    // wraps: 2^33−16+100
	insert := splice(0, spliceInsert, 0, 0, 0, 1, 0x7f, 0x4f, 0xfe, 0, 0, 0, 9, 1) // out of the network at 9
	now := splice(0, spliceInsert, 0, 0, 0, 1, 0x7f, 0x5f, 0, 0, 0, 0)             // at once
	tag := append([]byte("ID3\x04\x00\x00\x00\x00\x01\x10"), make([]byte, 300)...)
	var more []byte
	for i, s := range [][]byte{standard, at, insert, now} {
		more = append(more, packets(500, byte(i), true, s)...)
	}
	broken := slices.Clone(at)
	broken[20]++
	more = append(more, packets(500, 4, true, broken)...)
	more = append(more, packets(501, 0, false, pes(777, tag))...)
	more = append(more, packets(501, 2, false, pes(778, []byte("other metadata")))...)
	more = append(more, packets(501, 3, false, pes(779, append([]byte("ID3"), make([]byte, media.MaxData)...)))...)
	before, _ := read(t, file(t, "multi"), 1316)
	for _, piece := range []int{1316, 7} {
		h, stats := read(t, withData(t, file(t, "multi"), more), piece)
		want := []Data{
			{media.SCTE35, 0x72bd0050, true, standard}, {media.SCTE35, 84, true, at}, {media.SCTE35, 9, true, insert}, {media.SCTE35, 0, false, now}, {media.ID3, 777, true, tag},
		}
		if len(h.data) != len(want) {
			t.Fatalf("%d data, want %d: %+v", len(h.data), len(want), stats)
		}
		for i, d := range h.data {
			if w := want[i]; d.Format != w.Format || d.Timed != w.Timed || w.Timed && d.Time != w.Time || !slices.Equal(d.Payload, w.Payload) {
				t.Errorf("datum %d: %v at %d (%v), %d bytes", i, d.Format, d.Time, d.Timed, len(d.Payload))
			}
		}
		if stats.Malformed != 2 { // the broken section, the long tag
			t.Errorf("stats %+v", stats)
		}
		for id, units := range before.units {
			if len(h.units[id]) != len(units) {
				t.Errorf("track %d: %d units, %d without data", id, len(h.units[id]), len(units))
			}
		}
	}
}
