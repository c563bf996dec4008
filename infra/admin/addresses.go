package admin

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
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

// Addresses say where to publish to one entry, by each protocol that is on.
type Addresses struct {
	Server string `json:"server,omitempty"` // what OBS calls "Server"
	Backup string `json:"backup,omitempty"` // the same for the backup encoder
	Key    string `json:"key,omitempty"`    // what OBS calls "Stream Key"
	// RTMPS is the encrypted Server; empty when Server is encrypted itself.
	RTMPS string `json:"rtmps,omitempty"`
	SRT   string `json:"srt,omitempty"`
	Push  string `json:"push,omitempty"`
	// WHIP is the endpoint's address; Token is what its publishers send as bearer.
	WHIP  string `json:"whip,omitempty"`
	Token string `json:"token,omitempty"`
}

// Of returns the addresses of an entry.
func (s Servers) Of(e Entry) Addresses {
	a := Addresses{Key: e.ID + "_1", Token: e.Token}
	partner := strconv.Itoa(e.Partner)
	if server := cmp.Or(s.RTMP, s.RTMPS); server != "" {
		a.Server = server + "/" + ingest(partner, e.ID, "0", e.Token)
		a.Backup = server + "/" + ingest(partner, e.ID, "1", e.Token)
		if s.RTMPS != "" && s.RTMPS != server {
			a.RTMPS = s.RTMPS + "/" + ingest(partner, e.ID, "0", e.Token)
		}
	}
	if s.SRT != "" {
		a.SRT = s.SRT + "?streamid=" + url.QueryEscape(
			fmt.Sprintf("#!::r=%s_1,m=publish,u=%s,i=0,s=%s", e.ID, partner, url.PathEscape(e.Token)))
		if e.SRTPassphrase != "" {
			a.SRT += "&passphrase=" + url.QueryEscape(e.SRTPassphrase) + "&pbkeylen=32"
		}
	}
	if s.Push != "" {
		a.Push = s.Push + a.Key + "?p=" + partner + "&i=0&t=" + url.QueryEscape(e.Token)
	}
	if s.WHIP != "" {
		a.WHIP = s.WHIP + a.Key + "?p=" + partner + "&i=0"
	}
	return a
}

// none says that no protocol is known.
func (s Servers) none() bool { return s == Servers{} }

// ingest is the broadcast address's query: partner, entry, index, token.
func ingest(partner, entry, index, token string) string {
	return "?p=" + url.QueryEscape(partner) + "&e=" + url.QueryEscape(entry) +
		"&i=" + index + "&t=" + url.QueryEscape(token)
}
