package whip

import (
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// maxLayers bounds the layers of simulcast, and maxRID the bytes of a layer's name.
const (
	maxLayers = 4
	maxRID    = 32
)

// readLayers lists the names (RIDs) of the layers in which a section sends its pictures (RFC 8853
// §5.1), in the offer's order; of alternatives the first. Layers that are restricted to other
// payload types than number are left out. It is nil when less than two remain. The error is a
// *gateway.Refusal.
func readLayers(m *sdp.MediaDescription, number string) ([]string, error) {
	value, _ := m.Attribute("simulcast")
	fields := strings.Fields(value)
	at := slices.Index(fields, "send")
	if at < 0 {
		return nil, nil
	}
	if at+1 == len(fields) {
		return nil, refuse("the offer's a=simulcast names no layers")
	}
	var list []string
	for layer := range strings.SplitSeq(strings.TrimPrefix(fields[at+1], "rid="), ";") {
		for name := range strings.SplitSeq(layer, ",") {
			name = strings.TrimPrefix(name, "~") // paused at first
			if !validRID(name) || slices.Contains(list, name) {
				return nil, refuse("the offer's a=simulcast is malformed at %.40q", layer)
			}
			if carries(m, name, number) {
				list = append(list, name)
				break
			}
		}
		if len(list) > maxLayers {
			return nil, refuseOffer("the offer has more than %d layers of simulcast; send fewer", maxLayers)
		}
	}
	if len(list) < 2 {
		return nil, nil
	}
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI} {
		if !extends(m, uri) {
			return nil, refuseOffer("the offer has layers of simulcast, and lacks the header extension %s by which they are told apart", uri)
		}
	}
	return list, nil
}

// validRID checks a layer's name (RFC 8851 §10).
func validRID(s string) bool {
	if s == "" || len(s) > maxRID {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// carries reports whether a section has a layer that may be sent as a payload type (RFC 8851 §4).
func carries(m *sdp.MediaDescription, rid, number string) bool {
	for _, a := range m.Attributes {
		fields := strings.Fields(a.Value)
		if a.Key != "rid" || len(fields) < 2 || fields[0] != rid || fields[1] != "send" {
			continue
		}
		for restriction := range strings.SplitSeq(strings.Join(fields[2:], ""), ";") {
			if list, ok := strings.CutPrefix(restriction, "pt="); ok && !slices.Contains(strings.Split(list, ","), number) {
				return false
			}
		}
		return true
	}
	return false
}

// extends reports whether a section offers a header extension (RFC 8285 §5).
func extends(m *sdp.MediaDescription, uri string) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool {
		fields := strings.Fields(a.Value)
		return a.Key == "extmap" && len(fields) > 1 && fields[1] == uri
	})
}

// keepLayers writes the layers that are taken into a section that was trimmed. The library knows
// layers of named tracks only.
func keepLayers(m *sdp.MediaDescription, list []string) {
	if list == nil {
		return
	}
	for _, rid := range list {
		m.Attributes = append(m.Attributes, sdp.Attribute{Key: "rid", Value: rid + " send"})
	}
	m.Attributes = append(m.Attributes, sdp.Attribute{Key: "simulcast", Value: "send " + strings.Join(list, ";")})
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { return a.Key == "msid" })
	m.Attributes = append(m.Attributes, sdp.Attribute{Key: "msid", Value: "layers pictures"})
}
