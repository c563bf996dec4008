package whip

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// maxCandidates bounds those of one fragment, and those of a session between two restarts.
const maxCandidates = 64

// fragment is what a PATCH brings, and what answers a restart (RFC 8840 §9): ICE credentials and
// candidates.
type fragment struct {
	ufrag, pwd string
	candidates []candidate
}

// candidate is the value of a candidate line, with the section that it stands in.
type candidate struct {
	value, mid string
}

// readFragment reads a fragment. The error is a *gateway.Refusal.
func readFragment(text []byte) (*fragment, error) {
	f := &fragment{}
	mid := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r ")
		kind, value, ok := strings.Cut(line, "=")
		switch {
		case line == "":
			continue
		case !ok || len(kind) != 1:
			return nil, refuse("the body is no SDP fragment: %.60q", line)
		case kind == "m":
			mid = ""
			continue
		case kind != "a":
			continue
		}
		key, value, _ := strings.Cut(value, ":")
		switch key {
		case "ice-ufrag":
			f.ufrag = value
		case "ice-pwd":
			f.pwd = value
		case "mid":
			mid = value
		case "candidate":
			if len(f.candidates) >= maxCandidates {
				return nil, refuse("the fragment has more than %d candidates", maxCandidates)
			}
			f.candidates = append(f.candidates, candidate{value, mid})
		}
	}
	if lines.Err() != nil {
		return nil, refuse("the body is no SDP fragment: a line is too long")
	}
	if !credential(f.ufrag, 4, 256) || !credential(f.pwd, 22, 256) {
		return nil, refuse("the fragment lacks a=ice-ufrag or a=ice-pwd, or they are malformed")
	}
	return f, nil
}

// credential checks a fragment of ICE credentials (RFC 8839 §5.4).
func credential(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// credentials are those of a description.
func credentials(text string) (ufrag, pwd string) {
	var d sdp.SessionDescription
	if d.UnmarshalString(text) != nil {
		return "", ""
	}
	read := func(list []sdp.Attribute) {
		for _, a := range list {
			switch a.Key {
			case "ice-ufrag":
				ufrag = a.Value
			case "ice-pwd":
				pwd = a.Value
			}
		}
	}
	read(d.Attributes)
	for _, m := range slices.Backward(d.MediaDescriptions) { // the first section's count
		read(m.Attributes)
	}
	return ufrag, pwd
}

// renew puts a fragment's credentials and candidates into an offer.
func renew(text string, f *fragment) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return "", err
	}
	d.Origin.SessionVersion++
	ice := func(list []sdp.Attribute) []sdp.Attribute {
		return slices.DeleteFunc(list, func(a sdp.Attribute) bool {
			switch a.Key {
			case "ice-ufrag", "ice-pwd", "candidate", "end-of-candidates":
				return true
			}
			return false
		})
	}
	d.Attributes = ice(d.Attributes)
	for i, m := range d.MediaDescriptions {
		m.Attributes = append(ice(m.Attributes), sdp.Attribute{Key: "ice-ufrag", Value: f.ufrag}, sdp.Attribute{Key: "ice-pwd", Value: f.pwd})
		for _, c := range f.candidates {
			if i == 0 { // all sections share one transport
				m.Attributes = append(m.Attributes, sdp.Attribute{Key: "candidate", Value: c.value})
			}
		}
	}
	out, err := d.Marshal()
	return string(out), err
}

// fragmentOf makes the fragment that tells of an answer's new credentials and candidates.
func fragmentOf(answer string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", err
	}
	if len(d.MediaDescriptions) == 0 {
		return "", errNoSection
	}
	ufrag, pwd := credentials(answer)
	m := d.MediaDescriptions[0]
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=%s 9 UDP/TLS/RTP/SAVPF 0\r\n", ufrag, pwd, m.MediaName.Media)
	if mid, ok := m.Attribute("mid"); ok {
		fmt.Fprintf(&b, "a=mid:%s\r\n", mid)
	}
	for _, a := range m.Attributes {
		if a.Key == "candidate" {
			fmt.Fprintf(&b, "a=candidate:%s\r\n", a.Value)
		}
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String(), nil
}
