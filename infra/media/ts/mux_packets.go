package ts

// muxer writes packets (ISO/IEC 13818-1 §2.4.3.2).
type muxer struct {
	out      []byte
	streams  []muxStream
	counters [0x2000]byte // packets of each PID so far, modulo muxCycle
}

// unit writes a PES packet. The last one of its PID is spread over so many packets that the
// counter comes round.
func (m *muxer) unit(u *muxUnit, last bool) {
	adaptation := make([]byte, 0, 7)
	if u.clock {
		flags := byte(0x10) // PCR
		if u.key {
			flags |= 0x40 // random access
		}
		clock := u.dts - muxAhead
		adaptation = append(adaptation, flags, byte(clock>>25), byte(clock>>17), byte(clock>>9), byte(clock>>1), byte(clock<<7)|0x7e, 0)
	}
	first := muxSpace
	if len(adaptation) > 0 {
		first -= 1 + len(adaptation)
	}
	n := 1 + max(0, len(u.data)-first+muxSpace-1)/muxSpace
	if last {
		want := n + (2*muxCycle-n-int(m.counters[u.pid]))%muxCycle
		if want < n {
			want += muxCycle
		}
		n = min(want, len(u.data)) // each packet carries something
	}
	data := u.data
	for i := range n {
		space := muxSpace
		if i == 0 {
			space = first
		}
		size := min(space, len(data)-(n-1-i))
		m.packet(u.pid, i == 0, adaptation, data[:size])
		adaptation, data = nil, data[size:]
	}
}

// packet writes one packet, filled up in its adaptation field.
func (m *muxer) packet(pid uint16, start bool, adaptation, payload []byte) {
	head, control := byte(pid>>8), byte(0x10)
	if start {
		head |= 0x40
	}
	fill := muxSpace - len(payload)
	if fill > 0 {
		control |= 0x20
	}
	m.out = append(m.out, syncByte, head, byte(pid), control|m.counters[pid])
	m.counters[pid] = (m.counters[pid] + 1) % muxCycle
	if fill > 0 {
		m.out = append(m.out, byte(fill-1))
		fill--
		if len(adaptation) == 0 && fill > 0 {
			adaptation = []byte{0}
		}
		m.out = append(m.out, adaptation...)
		for range fill - len(adaptation) {
			m.out = append(m.out, 0xff)
		}
	}
	m.out = append(m.out, payload...)
}

// tables writes the program association and the program map.
func (m *muxer) tables() {
	m.table(0, []byte{0, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | muxPIDPMT>>8, muxPIDPMT & 0xff})
	clock := m.streams[0].pid
	body := []byte{2, 0, 1, 0xc1, 0, 0, 0xe0 | byte(clock>>8), byte(clock), 0xf0, 0}
	for _, s := range m.streams {
		body = append(body, s.kind, 0xe0|byte(s.pid>>8), byte(s.pid), 0xf0, 0)
	}
	m.table(muxPIDPMT, body)
}

// table writes a section of one packet. body is its table id and what follows the length.
func (m *muxer) table(pid uint16, body []byte) {
	n := len(body) - 1 + 4
	section := append([]byte{body[0], 0xb0 | byte(n>>8), byte(n)}, body[1:]...)
	crc := checksum(section)
	section = append(section, byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc))
	payload := make([]byte, muxSpace)
	for i := copy(payload[1:], section) + 1; i < len(payload); i++ {
		payload[i] = 0xff
	}
	m.packet(pid, true, nil, payload)
}
