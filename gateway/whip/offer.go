package whip

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
)

// maxSections bounds the media sections of an offer.
const maxSections = 8

// maxFormats and maxAttributes bound the payload types and the attributes of a section, which are
// held against each other. Browsers send some 50 and 200.
const maxFormats, maxAttributes = 128, 1024

// codec is one that pictures may come in.
type codec struct {
	name string // as in rtpmap
	// format is the fmtp that stands for all of it.
	format string
}

// codecs are those of pictures, the preferred one first.
var codecs = []codec{
	{name: "H264", format: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
	{name: "H265"},
	{name: "AV1"},
	{name: "VP9", format: "profile-id=0"},
	{name: "VP8"},
}

// offer is an offer that was read.
type offer struct {
	// text is the offer with what is used of it, in the library's terms.
	text string
	// formats are the lines of format parameters that the answer has to have, by payload type.
	formats map[string]string
	video   string   // codec; empty without pictures
	layers  []string // of the pictures, by RID; nil when they come in one size
	audio   bool
}

// refuseOffer is the refusal of an offer that can be read and not be used.
func refuseOffer(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: fmt.Sprintf(format, args...)}
}

// readOffer checks an offer and trims it: one section of pictures and one of sound, each with
// one codec, pictures in one size or in several layers. The error is a *gateway.Refusal.
func readOffer(text []byte) (*offer, error) {
	var d sdp.SessionDescription
	if !bytes.HasPrefix(text, []byte("v=0")) { // which the library does without
		return nil, refuse("the body is no SDP offer: it does not begin with v=0")
	}
	if err := d.Unmarshal(text); err != nil {
		return nil, refuse("the offer is no SDP that can be read: %.200s", err.Error())
	}
	if n := len(d.MediaDescriptions); n > maxSections {
		return nil, refuse("the offer has %d media sections; send one of pictures and one of sound", n)
	}
	o := &offer{formats: map[string]string{}}
	sound, pictures := 0, 0
	for _, m := range d.MediaDescriptions {
		if f, a := len(m.MediaName.Formats), len(m.Attributes); f > maxFormats || a > maxAttributes {
			return nil, refuse("a section of the offer has %d payload types and %d attributes, and at most %d and %d are read; offer fewer codecs", f, a, maxFormats, maxAttributes)
		}
		switch kind := m.MediaName.Media; {
		case kind != "audio" && kind != "video":
			return nil, refuseOffer("the offer has a section of type %.20q; send pictures and sound alone, without data channels", kind)
		case !sends(&d, m):
			return nil, refuseOffer("the offer's section of %s does not send; make it sendonly", kind)
		case kind == "audio":
			sound++
			if err := o.trimAudio(m); err != nil {
				return nil, err
			}
		default:
			pictures++
			if err := o.trimVideo(m); err != nil {
				return nil, err
			}
		}
		if err := security(&d, m); err != nil {
			return nil, err
		}
	}
	switch {
	case sound+pictures == 0:
		return nil, refuseOffer("the offer has no media; add a track of pictures or sound before it is made")
	case sound > 1 || pictures > 1:
		return nil, refuseOffer("the offer has %d tracks of pictures and %d of sound; send one of each at most", pictures, sound)
	}
	out, err := d.Marshal()
	if err != nil {
		return nil, refuse("the offer is no SDP that can be read: %.200s", err.Error())
	}
	o.text = string(out)
	return o, nil
}

// sends reports whether a section's direction is that of a publisher.
func sends(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	if m.MediaName.Port.Value == 0 {
		return false
	}
	for _, list := range [][]sdp.Attribute{m.Attributes, d.Attributes} {
		for _, a := range list {
			switch a.Key {
			case "sendonly", "sendrecv":
				return true
			case "recvonly", "inactive":
				return false
			}
		}
	}
	return true // sendrecv is the default (RFC 8866 §6.7)
}

// security checks that a connection can be made, and settles who begins it: the peer, where it
// leaves the choice (RFC 9725 §4.4).
func security(d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		_, here := m.Attribute(key)
		_, there := d.Attribute(key)
		if !here && !there {
			return refuse("the offer lacks a=%s; make it with a WebRTC library", key)
		}
	}
	for _, list := range [][]sdp.Attribute{m.Attributes, d.Attributes} {
		for i := range list {
			if list[i].Key == "setup" && list[i].Value == "actpass" {
				list[i].Value = "active"
			}
		}
	}
	return nil
}

// payload is one payload type of a section.
type payload struct {
	number, name, format string
}

// payloads lists what a section offers, in its order.
func payloads(m *sdp.MediaDescription) []payload {
	var list []payload
	for _, number := range m.MediaName.Formats {
		p := payload{number: number}
		for _, a := range m.Attributes {
			n, rest, _ := strings.Cut(a.Value, " ")
			if n != number {
				continue
			}
			switch a.Key {
			case "rtpmap":
				p.name = rest
			case "fmtp":
				p.format = rest
			}
		}
		list = append(list, p)
	}
	return list
}

// is reports whether a payload type carries a codec, "opus/48000/2" or "h264/90000".
func (p *payload) is(name string) bool { return strings.EqualFold(p.name, name) }

// parameter is one of the format parameters; empty without it.
func (p *payload) parameter(key string) string {
	for part := range strings.SplitSeq(p.format, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(part), "="); strings.EqualFold(k, key) {
			return v
		}
	}
	return ""
}

// soundFormat asks for stereo, and for more than the speech that browsers send by default.
const soundFormat = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=0;maxaveragebitrate=128000"

func (o *offer) trimAudio(m *sdp.MediaDescription) error {
	for _, p := range payloads(m) {
		if p.is("opus/48000/2") {
			o.audio = true
			o.formats[p.number] = soundFormat
			trim(m, map[string]string{p.number: ""})
			return nil
		}
	}
	return refuseOffer("the offer's sound is %s; send Opus", codecNames(m))
}

func (o *offer) trimVideo(m *sdp.MediaDescription) error {
	list := payloads(m)
	for _, c := range codecs {
		i := c.find(list)
		if i < 0 {
			continue
		}
		p := list[i]
		o.video = c.name
		keep := map[string]string{p.number: c.format}
		if p.format != "" {
			o.formats[p.number] = p.format
		}
		for _, r := range list {
			if r.is("rtx/90000") && r.parameter("apt") == p.number {
				keep[r.number] = "apt=" + p.number
			}
		}
		var err error
		if o.layers, err = readLayers(m, p.number); err != nil {
			return err
		}
		trim(m, keep)
		keepLayers(m, o.layers)
		return nil
	}
	return refuseOffer("the offer's pictures are %s; send H.264, HEVC, AV1, VP9 or VP8", codecNames(m))
}

// find is the payload type that carries the codec; -1 when none does. Of H.264's modes the one
// with fragments is taken before that without.
func (c *codec) find(list []payload) int {
	first := -1
	for i := range list {
		if !list[i].is(c.name + "/90000") {
			continue
		}
		if c.name != "H264" || list[i].parameter("packetization-mode") == "1" {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// codecNames lists what a section offers, for the encoder's operator.
func codecNames(m *sdp.MediaDescription) string {
	var names []string
	for _, p := range payloads(m) {
		name, _, _ := strings.Cut(p.name, "/")
		if name != "" && !strings.EqualFold(name, "rtx") && !slices.Contains(names, name) && len(names) < 8 {
			names = append(names, fmt.Sprintf("%.16s", name))
		}
	}
	if len(names) == 0 {
		return "in no codec that it names"
	}
	return strings.Join(names, ", ")
}

// trim leaves a section the payload types of keep, each with its format parameters, and takes
// its layers out.
func trim(m *sdp.MediaDescription, keep map[string]string) {
	m.MediaName.Formats = slices.DeleteFunc(m.MediaName.Formats, func(n string) bool { _, ok := keep[n]; return !ok })
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		n, _, _ := strings.Cut(a.Value, " ")
		_, kept := keep[n]
		switch a.Key {
		case "rtpmap", "rtcp-fb":
			return !kept && n != "*"
		case "fmtp", "simulcast", "rid":
			return true
		}
		return false
	})
	for _, n := range m.MediaName.Formats {
		if f := keep[n]; f != "" {
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "fmtp", Value: n + " " + f})
		}
	}
}

// answer puts the offer's own format parameters into an answer, and its candidates in order.
func (o *offer) answer(text string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return "", err
	}
	for _, m := range d.MediaDescriptions {
		orderCandidates(m)
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			n, _, _ := strings.Cut(a.Value, " ")
			_, ours := o.formats[n]
			return a.Key == "fmtp" && ours
		})
		for _, n := range m.MediaName.Formats {
			if f, ok := o.formats[n]; ok {
				m.Attributes = append(m.Attributes, sdp.Attribute{Key: "fmtp", Value: n + " " + f})
			}
		}
	}
	out, err := d.Marshal()
	return string(out), err
}

// suits says whether anybody could play what is made of the offer by a ladder: players of HLS and
// DASH take no VP8.
func (o *offer) suits(l live.Ladder) error {
	if o.video != "VP8" || slices.ContainsFunc(l.Rungs, func(r live.Rung) bool { return r.Video.Mode == live.ModeEncode }) {
		return nil
	}
	return refuseOffer("the offer's pictures are VP8, which no player of HLS or DASH takes, and the entry's conversion profile makes nothing else of them; send H.264, or choose a profile that transcodes")
}

// kinds are what the offer announces.
func (o *offer) kinds() []media.Kind {
	var list []media.Kind
	if o.video != "" {
		list = append(list, media.Video)
	}
	if o.audio {
		list = append(list, media.Audio)
	}
	return list
}
