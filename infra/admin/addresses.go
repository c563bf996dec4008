package admin

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Where encoders publish over HTTP, below a gateway's address.
const (
	PushPath = "/ingest/"
	WHIPPath = "/whip/"
)

// Servers are the addresses under which encoders reach a klive. One that is empty is off, or not
// known.
type Servers struct {
	RTMP  string `json:"rtmp"`  // with the application: "rtmp://host:1935/kLive"
	RTMPS string `json:"rtmps"` // the same
	SRT   string `json:"srt"`   // "srt://host:8890"
	Push  string `json:"push"`  // "http://host:8080/ingest/"
	WHIP  string `json:"whip"`  // "http://host:8080/whip/"
}

// Addresses say where to publish to one entry, by each protocol that is on. The backup encoder's are beside them.
type Addresses struct {
	Server string `json:"server,omitempty"` // what OBS calls "Server"
	Backup string `json:"backup,omitempty"`
	Key    string `json:"key,omitempty"` // what OBS calls "Stream Key"
	// RTMPS is the encrypted Server; empty when Server is encrypted itself.
	RTMPS       string `json:"rtmps,omitempty"`
	RTMPSBackup string `json:"rtmpsBackup,omitempty"`
	SRT         string `json:"srt,omitempty"`
	SRTBackup   string `json:"srtBackup,omitempty"`
	Push        string `json:"push,omitempty"`
	PushBackup  string `json:"pushBackup,omitempty"`
	// WHIP is the endpoint's address; Token is what its publishers send as bearer.
	WHIP       string `json:"whip,omitempty"`
	WHIPBackup string `json:"whipBackup,omitempty"`
	Token      string `json:"token,omitempty"`
}

// Of returns the addresses of an entry.
func (s Servers) Of(e Entry) Addresses {
	a, b := s.of(e, "0"), s.of(e, "1")
	a.Backup, a.RTMPSBackup, a.SRTBackup, a.PushBackup, a.WHIPBackup = b.Server, b.RTMPS, b.SRT, b.Push, b.WHIP
	return a
}

// of returns the addresses of one of an entry's encoders.
func (s Servers) of(e Entry, index string) Addresses {
	a := Addresses{Key: e.ID + "_1", Token: e.Token}
	partner := strconv.Itoa(e.Partner)
	if server := cmp.Or(s.RTMP, s.RTMPS); server != "" {
		a.Server = server + "/" + ingest(partner, e.ID, index, e.Token)
		if s.RTMPS != "" && s.RTMPS != server {
			a.RTMPS = s.RTMPS + "/" + ingest(partner, e.ID, index, e.Token)
		}
	}
	if s.SRT != "" {
		a.SRT = s.SRT + "?streamid=" + url.QueryEscape(
			fmt.Sprintf("#!::r=%s_1,m=publish,u=%s,i=%s,s=%s", e.ID, partner, index, url.PathEscape(e.Token)))
		if e.SRTPassphrase != "" {
			a.SRT += "&passphrase=" + escape(e.SRTPassphrase) + "&pbkeylen=32"
		}
	}
	if s.Push != "" {
		a.Push = s.Push + a.Key + "?p=" + partner + "&i=" + index + "&t=" + escape(e.Token)
	}
	if s.WHIP != "" {
		a.WHIP = s.WHIP + a.Key + "?p=" + partner + "&i=" + index
	}
	return a
}

// none says that no protocol is known.
func (s Servers) none() bool { return s == Servers{} }

// escape percent-encodes whatever an address may not hold as it is, spaces too.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// ingest is the broadcast address's query: partner, entry, index, token. Nobody decodes it
// (contract row 12), so the token stands there as it is.
func ingest(partner, entry, index, token string) string {
	return "?p=" + url.QueryEscape(partner) + "&e=" + url.QueryEscape(entry) + "&i=" + index + "&t=" + token
}
