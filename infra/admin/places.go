package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Places are the addresses of this klive, as its configuration has them. A listener
// without a host is reached under whatever host the console itself was asked for.
type Places struct {
	// RTMP, RTMPS, SRT, HTTP are listeners such as ":1935"; empty means off.
	RTMP, RTMPS, SRT, HTTP string
	// WHIP is the listener that takes publishers over WebRTC, "https://:8443" or "http://:8080", or
	// the address under which encoders reach it, with a host; empty means off.
	WHIP string
	// Ingest tells where encoders reach RTMP, such as "rtmp://live.example.com:1935"; nil or ""
	// means the listener's own address.
	Ingest func() string
	// App is RTMP's application.
	App string
	// PublicURL is where viewers reach playback; empty means the HTTP listener.
	PublicURL string
	// Sign puts a viewer's token for an entry into a playback path; nil when none is needed.
	Sign func(entry, path string) string
}

// server returns the address of an RTMP listener's application; empty when it is off.
func (p Places) server(scheme, listen, usualPort string, r *http.Request) string {
	if listen == "" {
		return ""
	}
	return scheme + "://" + authority(listen, usualPort, r) + "/" + p.App
}

func (p Places) rtmp(r *http.Request) string {
	if p.Ingest != nil {
		if base := p.Ingest(); base != "" {
			return base + "/" + p.App
		}
	}
	return p.server("rtmp", p.RTMP, "1935", r)
}

func (p Places) rtmps(r *http.Request) string { return p.server("rtmps", p.RTMPS, "443", r) }

// srt returns the address for SRT callers with an entry's stream id; empty when it is off.
func (p Places) srt(r *http.Request, e Entry) string {
	if p.SRT == "" {
		return ""
	}
	return "srt://" + authority(p.SRT, "", r) + "?streamid=" + url.QueryEscape(
		fmt.Sprintf("#!::r=%s_1,m=publish,u=%d,i=0,s=%s", e.ID, e.Partner, url.PathEscape(e.Token)))
}

// whip returns the WHIP address of an entry's stream, without the token; empty when it is off.
func (p Places) whip(r *http.Request, e Entry) string {
	scheme, rest, ok := strings.Cut(p.WHIP, "://")
	if !ok {
		return ""
	}
	usual := map[string]string{"http": "80", "https": "443"}[scheme]
	if _, _, err := net.SplitHostPort(rest); err == nil {
		rest = authority(rest, usual, r)
	}
	return fmt.Sprintf("%s://%s/whip/%s_1?p=%d&i=0", scheme, rest, e.ID, e.Partner)
}

// watch is play of an entry's playlist, with a viewer's token where one is needed.
func (p Places) watch(entry, path string, r *http.Request) string {
	if p.Sign != nil && path != "" {
		path = p.Sign(entry, path)
	}
	return p.play(path, r)
}

// play returns the address of a playback path, "" for an empty path or when playback is off.
func (p Places) play(path string, r *http.Request) string {
	switch {
	case path == "":
		return ""
	case p.PublicURL != "":
		return strings.TrimRight(p.PublicURL, "/") + path
	case p.HTTP != "":
		return "http://" + authority(p.HTTP, "80", r) + path
	default:
		return ""
	}
}

// authority is host and port under which the asker reaches a listener.
func authority(listen, usualPort string, r *http.Request) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = r.Host
		if name, _, err := net.SplitHostPort(r.Host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
	}
	if port == usualPort {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// ingest is the broadcast address's query: partner, entry, index, token.
func ingest(partner, entry, index, token string) string {
	return "?p=" + url.QueryEscape(partner) + "&e=" + url.QueryEscape(entry) +
		"&i=" + index + "&t=" + url.QueryEscape(token)
}

// masterPath is the path of an entry's multivariant playlist.
func masterPath(entry string) string { return "/kLive/smil:" + entry + "_all.smil/playlist.m3u8" }
