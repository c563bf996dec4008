package nal

import (
	"slices"
	"strconv"
)

// Captions are the caption services found in access units: "CC1" to "CC4" of CEA-608 and
// "SERVICE1" to "SERVICE63" of CEA-708, the values of INSTREAM-ID (RFC 8216bis §4.4.6.1), in
// that order. The zero value is empty.
type Captions []string

// Has reports whether the service is among them.
func (c Captions) Has(service string) bool { return slices.Contains(c, service) }

// Look adds the services that an access unit in the form of [media.Frame] shows to carry
// something (ATSC A/53 part 4 §6.2.3; SCTE 128). Stuffing does not count.
func (c *Captions) Look(payload []byte, hevc bool) {
	var packet []byte // of CEA-708, as far as it lies in this unit
	for b := nalCaptions(payload, hevc); len(b) >= ccBytes; b = b[ccBytes:] {
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
