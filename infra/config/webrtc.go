package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// clouds are those whose metadata service can be asked for a host's public address.
var clouds = []string{"aws", "gcp", "azure"}

// PublicSource says where a host's public addresses come from: one of the fields is set, or
// none.
type PublicSource struct {
	Addresses []netip.Addr
	STUN      string // host:port
	URL       string // https://…, whose answer is the address
	Cloud     string // "aws", "gcp" or "azure"
}

var errPublic = errors.New(`want an IP address, an IPv4 and an IPv6 address with a comma, "stun:host:port", an address that begins with https://, "aws", "gcp", "azure", or "" for the host's own`)

// Public reads webrtc.publicAddress.
func (w WebRTC) Public() (PublicSource, error) {
	text := strings.TrimSpace(w.PublicAddress)
	if text == "" {
		return PublicSource{}, nil
	}
	if slices.Contains(clouds, text) {
		return PublicSource{Cloud: text}, nil
	}
	if server, ok := strings.CutPrefix(text, "stun:"); ok {
		if host, _, err := net.SplitHostPort(server); err != nil || host == "" || checkListen(server) != nil {
			return PublicSource{}, errPublic
		}
		return PublicSource{STUN: server}, nil
	}
	if strings.HasPrefix(text, "https:") {
		if checkURL(text, "https") != nil {
			return PublicSource{}, errPublic
		}
		return PublicSource{URL: text}, nil
	}
	var s PublicSource
	for one := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(one))
		if err != nil || a.Zone() != "" {
			return PublicSource{}, errPublic
		}
		for _, b := range s.Addresses {
			if b.Is4() == a.Is4() {
				return PublicSource{}, fmt.Errorf("%w; there are two of one family", errPublic)
			}
		}
		s.Addresses = append(s.Addresses, a)
	}
	return s, nil
}

// Servers are the addresses of webrtc.iceServers.
func (w WebRTC) Servers() []string { return splitList(w.ICEServers) }

// maxICEServers bounds what peers are told: browsers take few.
const maxICEServers = 8

// checkICE checks webrtc.iceServers (RFC 7064, RFC 7065).
func checkICE(text string) error {
	list := WebRTC{ICEServers: text}.Servers()
	if len(list) > maxICEServers {
		return fmt.Errorf("names %d servers; want at most %d", len(list), maxICEServers)
	}
	for _, one := range list {
		scheme, rest, _ := strings.Cut(one, ":")
		host, query, _ := strings.Cut(rest, "?")
		switch {
		case scheme != "stun" && scheme != "stuns" && scheme != "turn" && scheme != "turns",
			host == "", strings.ContainsAny(one, " <>\"/\\"),
			query != "" && query != "transport=udp" && query != "transport=tcp":
			return errors.New(`want addresses such as "stun:host:3478" or "turn:host:3478?transport=udp", separated by commas`)
		}
	}
	return nil
}
