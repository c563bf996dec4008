package nal

import (
	"slices"
	"strconv"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// maxSEI bounds the SEI message units that are looked into, in bytes.
const maxSEI = 64 << 10

// hevcSEISuffix is the NAL unit type of SEI messages behind a picture (ITU-T H.265 table 7-1).
const hevcSEISuffix = 40

// seiUserData is the payload type of user_data_registered_itu_t_t35 (H.264 §D.1.6).
const seiUserData = 4

// Captions are the caption services found in access units: "CC1" to "CC4" of CEA-608 and
// "SERVICE1" to "SERVICE63" of CEA-708, the values of INSTREAM-ID (RFC 8216bis §4.4.6.1), in
// that order. The zero value is empty.
type Captions []string

// Has reports whether the service is among them.
func (c Captions) Has(service string) bool { return slices.Contains(c, service) }

// Look adds the services that an access unit in the form of [media.Frame] shows to carry
// something (ATSC A/53 part 4 §6.2.3; SCTE 128). Stuffing does not count.
func (c *Captions) Look(payload []byte, hevc bool) {
	for len(payload) > 4 {
		n := int(payload[0])<<24 | int(payload[1])<<16 | int(payload[2])<<8 | int(payload[3])
		if payload = payload[4:]; n > len(payload) {
			return
		}
		unit := payload[:n]
		payload = payload[n:]
		head := 1
		switch {
		case len(unit) < 3 || len(unit) > maxSEI:
			continue
		case hevc:
			head = 2
			if t := unit[0] >> 1 & 0x3f; t != hevcSEI && t != hevcSEISuffix {
				continue
			}
		case unit[0]&0x1f != avcSEI:
			continue
		}
		c.messages(h264.EmulationPreventionRemove(unit[head:]))
	}
}

// messages reads a unit's SEI messages (H.264 §7.3.2.3.1).
func (c *Captions) messages(b []byte) {
	for len(b) > 2 {
		typ, rest, ok := seiNumber(b)
		if !ok {
			return
		}
		size, rest, ok := seiNumber(rest)
		if !ok || size > len(rest) {
			return
		}
		if typ == seiUserData {
			c.userData(rest[:size])
		}
		b = rest[size:]
	}
}

// userData reads cc_data (CTA-708 table 2).
func (c *Captions) userData(b []byte) {
	const head = "\xb5\x00\x31GA94\x03" // United States, ATSC, caption data
	if len(b) < len(head)+2 || string(b[:len(head)]) != head {
		return
	}
	b = b[len(head):]
	if b[0]&0x40 == 0 { // process_cc_data_flag
		return
	}
	count := int(b[0] & 0x1f)
	b = b[2:]
	b = b[:min(len(b)/3, count)*3]
	var packet []byte // of CEA-708, as far as it lies in this unit
	for ; len(b) > 0; b = b[3:] {
		if b[0]&4 == 0 { // cc_valid
			continue
		}
		switch field := b[0] & 3; field {
		case 0, 1:
			c.line21(field, b[1]&0x7f, b[2]&0x7f)
		case 3: // a packet begins
			c.packet(packet)
			packet = append(packet[:0], b[1], b[2])
		default:
			packet = append(packet, b[1], b[2])
		}
	}
	c.packet(packet)
}

// line21 looks at a pair of CEA-608. The commands that begin captions (resume caption loading,
// roll-up, resume direct captioning) tell the channel; text services are none.
func (c *Captions) line21(field, a, b byte) {
	if a&0x76 != 0x14 {
		return
	}
	switch b {
	case 0x20, 0x25, 0x26, 0x27, 0x29:
		n := 1 + int(field)*2
		if a&0x08 != 0 {
			n++
		}
		c.add("CC" + strconv.Itoa(n))
	}
}

// packet looks at a DTVCC packet's service blocks (CTA-708 §6.2).
func (c *Captions) packet(b []byte) {
	if len(b) < 2 {
		return
	}
	size := int(b[0]&0x3f) * 2
	if size == 0 {
		size = 128
	}
	b = b[1:min(size, len(b))]
	for len(b) > 0 {
		service, length := int(b[0]>>5), int(b[0]&0x1f)
		if b = b[1:]; service == 0 {
			return // the rest is stuffing
		}
		if service == 7 {
			if len(b) == 0 {
				return
			}
			service, b = int(b[0]&0x3f), b[1:]
		}
		if length > 0 && service > 0 {
			c.add("SERVICE" + strconv.Itoa(service))
		}
		b = b[min(length, len(b)):]
	}
}

func (c *Captions) add(service string) {
	if c.Has(service) {
		return
	}
	// Others may hold the list.
	*c = append(slices.Clone(*c), service)
	slices.SortFunc(*c, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		if a < b {
			return -1
		}
		return 1
	})
}
